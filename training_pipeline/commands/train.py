"""``train``: trains once and registers."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console

from shared.errors import FtiError
from training_pipeline.attempt import Attempt
from training_pipeline.commands.command import Command, add_progress, add_task
from training_pipeline.exit_codes import EXIT_DONE, EXIT_GATE_FAILED, EXIT_KEPT
from training_pipeline.progress import JsonLines, Terminal
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest
from training_pipeline.supervision import Supervised, Supervision

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "exit codes: 0 gate passed, 3 gate failed, 4 trained and kept, since the registry did not"
        " take it, 1 error, 2 wrong usage, 130 interrupted"
    )
    add_task(parser)
    parser.add_argument(
        "--reason", default="asked for by hand", metavar="TEXT", help="kept with the version"
    )
    add_progress(parser)
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the result as JSON")
    parser.add_argument(
        "--run-id",
        type=_run_id,
        metavar="ID",
        help="of whoever asks: rows, checkpoints and what is kept go by it, and asking again makes"
        " no second version",
    )
    parser.add_argument(
        "--overrides",
        type=_section,
        default={},
        metavar="JSON",
        help="fields of the task's section [training] that are otherwise in this run",
    )
    parser.add_argument(
        "--supervised",
        type=float,
        metavar="SECONDS",
        help="with --progress json: end when the standard input does or is silent for so long,"
        " and wait there for the line 'register' before the result is registered",
    )
    parser.add_argument(
        "--allow-dirty",
        action="store_true",
        help="train from code with uncommitted changes, which are kept with the version",
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--fresh", action="store_true", help="begin anew, even if a run was interrupted"
    )
    begin.add_argument(
        "--supersede",
        action="store_true",
        help="begin anew, rather than refuse, if the interrupted run was of other rows or settings",
    )


def _run_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected at most 100 letters, digits and . _ -, found {text!r}"
        )
    return text


def _section(text: str) -> dict[str, Any]:
    try:
        section = json.loads(text)
    except ValueError:
        section = None
    if not isinstance(section, dict):
        raise argparse.ArgumentTypeError('a JSON object, such as {"epochs": 2}, is expected')
    return section


def train(
    options: argparse.Namespace, settings: TrainingSettings, stop: StopRequest | None = None
) -> int:
    """Train once and tell the result; return the exit code."""
    attempt = Attempt(
        task_file=options.task or settings.task,
        reason=options.reason,
        fresh=options.fresh,
        supersede=options.supersede,
        allow_dirty=options.allow_dirty,
        run_id=options.run_id,
        overrides=options.overrides,
        result_file=options.result,
    )
    supervision = None
    if options.supervised is not None:
        supervision = Supervision(options.supervised)
        supervision.start()
    stop = stop or StopRequest()
    if options.progress == "json":
        # Of several processes that torchrun started, the first has the word: the others would only
        # tell that it is gone.
        protocol = sys.stdout if os.environ.get("RANK", "0") == "0" else sys.stderr
        # Whatever libraries print must not come between the lines of the protocol.
        with redirect_stdout(sys.stderr):
            lines = Supervised(protocol, supervision) if supervision else JsonLines(protocol)
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
    return EXIT_DONE if result.gate.passed else EXIT_GATE_FAILED


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    from training_pipeline.kept import KeptError

    stop = StopRequest()
    stop.listen()
    try:
        return train(options, settings, stop)
    except KeptError as kept:
        sys.stderr.write(f"trained, but not registered: {kept}\n")
        return EXIT_KEPT


TRAIN = Command("train", "train once and register", _run, _add_arguments)
