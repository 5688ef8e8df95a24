"""``train``: trains once and registers."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from shared.errors import FtiError
from training_pipeline.attempt import Attempt
from training_pipeline.commands.command import EXIT_DONE, Command, add_progress, add_task
from training_pipeline.progress import JsonLines, Terminal
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

EXIT_GATE_FAILED = 3


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "exit codes: 0 gate passed, 3 gate failed, 1 error, 2 wrong usage, 130 interrupted"
    )
    add_task(parser)
    parser.add_argument(
        "--reason", default="asked for by hand", metavar="TEXT", help="kept with the version"
    )
    add_progress(parser)
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the result as JSON")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--fresh", action="store_true", help="begin anew, even if a run was interrupted"
    )
    begin.add_argument(
        "--supersede",
        action="store_true",
        help="begin anew, rather than refuse, if the interrupted run was of other rows or settings",
    )


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
        return EXIT_DONE
    if options.result:
        options.result.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    return EXIT_DONE if result.gate.passed else EXIT_GATE_FAILED


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    stop = StopRequest()
    stop.listen()
    return train(options, settings, stop)


TRAIN = Command("train", "train once and register", _run, _add_arguments)
