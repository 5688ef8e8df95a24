"""The command line: train once, or serve requests to train."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from shared.errors import FtiError
from shared.logs import configure_logs, get_logger
from shared.settings import load_settings
from training_pipeline.attempt import Attempt
from training_pipeline.progress import JsonLines, Terminal
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

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
    begin = train.add_mutually_exclusive_group()
    begin.add_argument(
        "--fresh", action="store_true", help="begin anew, even if a run was interrupted"
    )
    begin.add_argument(
        "--supersede",
        action="store_true",
        help="begin anew, rather than refuse, if the interrupted run was of other rows or settings",
    )
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
        stop = StopRequest()
        stop.listen()
        return train(options, settings, stop)
    except FtiError as error:
        _tell(error)
        return EXIT_ERROR
    except KeyboardInterrupt as interruption:
        where = f"{interruption}, which is saved" if interruption.args else "interrupted"
        sys.stderr.write(f"{where}: the same command goes on from what was saved last\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The parent, for whom the progress was, is gone.
        sys.stderr.write("interrupted: nobody reads the progress\n")
        return EXIT_INTERRUPTED


def train(
    options: argparse.Namespace, settings: TrainingSettings, stop: StopRequest | None = None
) -> int:
    """Train once and tell the result; return the exit code."""
    attempt = Attempt(
        task_file=options.task or settings.task,
        reason=options.reason,
        fresh=options.fresh,
        supersede=options.supersede,
    )
    stop = stop or StopRequest()
    if options.progress == "json":
        protocol = sys.stdout
        # Whatever libraries print must not come between the lines of the protocol.
        with redirect_stdout(sys.stderr):
            lines = JsonLines(protocol)
            try:
                result = attempt.run(settings, progress=lines, stop=stop)
            except FtiError as error:
                lines.failed(error)
                raise
    else:
        console = Console()
        with Terminal(console) as bars:
            result = attempt.run(settings, progress=bars, stop=stop)
        if result is not None:
            from training_pipeline.summary import show

            show(console, result)
    if result is None:  # the main process tells
        return EXIT_PASSED
    if options.result:
        options.result.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    return EXIT_PASSED if result.gate.passed else EXIT_GATE_FAILED


def _tell(error: FtiError) -> None:
    sys.stderr.write(f"error: {error}\n")
    if error.__cause__ is not None:
        first = str(error.__cause__).partition("\n")[0]
        sys.stderr.write(f"caused by {type(error.__cause__).__name__}: {first}\n")
    get_logger(__name__).debug("where it came from", exc_info=error)
