"""The command line: train once, or serve requests to train."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from shared.errors import FtiError
from shared.logs import configure_logs, get_logger
from shared.settings import load_settings
from shared.task import load_task
from training_pipeline.progress import JsonLines, Terminal
from training_pipeline.settings import TrainingSettings
from training_pipeline.workspace import workspace

if TYPE_CHECKING:
    from training_pipeline.result import TrainResult

EXIT_PASSED, EXIT_ERROR, EXIT_GATE_FAILED, EXIT_INTERRUPTED = 0, 1, 3, 130
_EXIT_CODES = "exit codes: 0 gate passed, 3 gate failed, 1 error, 2 wrong usage, 130 interrupted"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training_pipeline",
        description="Train models of labelled mentions, gate them and register them.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train once and register", epilog=_EXIT_CODES)
    train.add_argument(
        "--task", type=Path, metavar="FILE", help="the task's TOML file (default: FTI_TASK)"
    )
    train.add_argument(
        "--reason", default="asked for by hand", metavar="TEXT", help="kept with the version"
    )
    train.add_argument(
        "--progress",
        choices=("auto", "json"),
        default="auto",
        help="auto: a bar on a terminal; json: one object a line on stdout",
    )
    train.add_argument("--result", type=Path, metavar="FILE", help="write the result as JSON")
    commands.add_parser(
        "serve",
        help="take requests to train over HTTP",
        description="Train for the task FTI_TASK; listen on FTI_TRAINING_HOST:FTI_TRAINING_PORT.",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        settings = load_settings(TrainingSettings)
        configure_logs("training", log_format=settings.log_format, level=settings.log_level)
        if options.command == "serve":
            from training_pipeline.service.process import serve

            serve(settings)
            return 0
        signal.signal(signal.SIGTERM, _interrupt)
        return train(options, settings)
    except FtiError as error:
        _tell(error)
        return EXIT_ERROR
    except (KeyboardInterrupt, BrokenPipeError):
        # A closed pipe means that the parent, for whom the progress was, is gone.
        sys.stderr.write("interrupted before the end\n")
        return EXIT_INTERRUPTED


def train(options: argparse.Namespace, settings: TrainingSettings) -> int:
    """Train once and tell the result; return the exit code."""
    task_file = options.task or settings.task
    if options.progress == "json":
        protocol = sys.stdout
        # Whatever libraries print must not come between the lines of the protocol.
        with redirect_stdout(sys.stderr):
            lines = JsonLines(protocol)
            try:
                result = _train(settings, task_file, options.reason, lines)
            except FtiError as error:
                lines.failed(error)
                raise
    else:
        console = Console()
        with Terminal(console) as bars:
            result = _train(settings, task_file, options.reason, bars)
        from training_pipeline.summary import show

        show(console, result)
    if options.result:
        options.result.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    return EXIT_PASSED if result.gate.passed else EXIT_GATE_FAILED


def _train(
    settings: TrainingSettings, task_file: Path, reason: str, progress: JsonLines | Terminal
) -> TrainResult:
    task = load_task(task_file)
    # After the task was read: what comes now takes seconds to import.
    from training_pipeline.bootstrap import training_pipeline

    with workspace(settings.training_home) as folder:
        return training_pipeline(settings).run(
            task, folder=folder, progress=progress, reason=reason
        )


def _tell(error: FtiError) -> None:
    sys.stderr.write(f"error: {error}\n")
    if error.__cause__ is not None:
        first = str(error.__cause__).partition("\n")[0]
        sys.stderr.write(f"caused by {type(error.__cause__).__name__}: {first}\n")
    get_logger(__name__).debug("where it came from", exc_info=error)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - signal's
    raise KeyboardInterrupt
