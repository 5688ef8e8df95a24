"""``register``: registers what was trained while the registry was away."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from shared.disk import disk_errors
from shared.errors import FtiError, StateError
from shared.file_lock import hold_file
from training_pipeline.commands.command import Command
from training_pipeline.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_GATE_FAILED, EXIT_KEPT
from training_pipeline.result import TrainResult
from training_pipeline.settings import TrainingSettings

_AT_WORK_SECONDS = 86_400.0
"""An unfinished folder that is younger may be in the making."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Registers results that `train` kept because the registry was away (its exit code 4). Each"
        " is registered once, however often this is run or interrupted."
    )
    parser.epilog = (
        "exit codes: of --kept those of `train`: 0 gate passed, 3 gate failed, 4 still kept, 1"
        " error; of --all: 0 nothing is left, 4 something is still kept, 1 something cannot be read"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--kept", type=Path, metavar="FOLDER", help="register this one")
    which.add_argument("--all", action="store_true", help="register all that wait in FTI_HOME")
    parser.add_argument(
        "--result",
        type=Path,
        metavar="FILE",
        help="with --kept, write the result there, as `train` does, and remove the folder"
        " (default: it stays in the folder as result.json)",
    )
    parser.add_argument("--json", action="store_true", help="print results, one object a line")


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    if options.all:
        if options.result:
            raise StateError("option --result", expected="--kept beside it", found="--all")
        return _register_all(options, settings)
    result = register_kept(options.kept, settings, options.result)
    if result is None:
        return EXIT_KEPT
    _tell(options, options.kept, result)
    return EXIT_DONE if result.gate.passed else EXIT_GATE_FAILED


def _register_all(options: argparse.Namespace, settings: TrainingSettings) -> int:
    from training_pipeline.bootstrap import kept_results

    codes = {EXIT_DONE}
    kept = kept_results(settings)
    with disk_errors(f"unfinished folders in {kept.folder}"):
        removed = kept.remove_unfinished(time.time() - _AT_WORK_SECONDS)
    for folder in removed:
        sys.stderr.write(f"removed {folder}, which was never kept to the end\n")
    for folder in kept.broken():
        sys.stderr.write(f"error: {folder} holds no candidate.json to register; remove it\n")
        codes.add(EXIT_ERROR)
    waiting = kept.waiting()
    if not waiting and not options.json:
        Console().print(f"Nothing waits in {kept.folder}.", soft_wrap=True)
    for folder in waiting:
        try:
            result = register_kept(folder, settings)
        except FtiError as error:  # the others deserve their turn
            sys.stderr.write(f"error: {error}\n")
            codes.add(EXIT_ERROR)
            continue
        if result is None:
            codes.add(EXIT_KEPT)
        else:
            _tell(options, folder, result)
    return next(code for code in (EXIT_ERROR, EXIT_KEPT, EXIT_DONE) if code in codes)


def register_kept(
    folder: Path, settings: TrainingSettings, result_file: Path | None = None
) -> TrainResult | None:
    """Register a kept result and settle its files; None, with a message, if it is still kept.

    Raises:
        StateError: the folder holds no result, or one that cannot be read or settled.
    """
    from training_pipeline.bootstrap import model_registry
    from training_pipeline.kept import load_kept, settle_kept

    lock = folder.absolute().parent / "in-use.lock"
    place = f"kept results in {lock.parent}"
    with hold_file(lock, place=place, remedy="Wait for it to end.", wait=math.inf):
        trained = load_kept(folder)
        try:
            registered = model_registry(settings).register(trained.candidate)
        except StateError as error:
            sys.stderr.write(f"still kept in {folder}: {error}\n")
            return None
        result = trained.result(registered)
        settle_kept(folder, result, result_file)
        return result


def _tell(options: argparse.Namespace, folder: Path, result: TrainResult) -> None:
    if options.json:
        sys.stdout.write(result.model_dump_json() + "\n")
        return
    became = "is champion now" if result.champion else "is not champion"
    notes = "".join(f" Note: {note}." for note in result.gate.notes)
    Console().print(
        escape(f"{folder.name}: registered as version {result.version}, which {became}.{notes}"),
        soft_wrap=True,
    )


REGISTER = Command(
    "register", "register what was kept while the registry was away", _run, _add_arguments
)
