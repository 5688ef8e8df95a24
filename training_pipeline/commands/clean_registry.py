"""``clean-registry``: deletes runs of the registry that came to no version."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from rich.console import Console

from shared.duration import parse_duration
from shared.task import load_task
from training_pipeline.commands.command import Command, add_task
from training_pipeline.exit_codes import EXIT_DONE
from training_pipeline.settings import TrainingSettings

_LONGEST = timedelta(days=36_500)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Deletes runs of the task whose registration was cut short: those marked KILLED or FAILED,"
        " and old ones that never ended, or ended without a version. A run that a version points at"
        " stays, and so do those of a search. Of a result that waits to be registered nothing is"
        " lost: its registration logs it again."
    )
    add_task(parser)
    parser.add_argument(
        "--older-than",
        type=_duration,
        metavar="AGE",
        help="of runs that are not marked, such as 12h; a younger one may be at work"
        " (default: FTI_TRAINING_KEEP_UNFINISHED_DAYS)",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell, and delete nothing")


def _duration(text: str) -> timedelta:
    try:
        return min(parse_duration(text), _LONGEST)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    name = load_task(options.task or settings.task).name
    from training_pipeline.bootstrap import model_registry

    age = options.older_than
    if age is None:
        age = timedelta(days=settings.training_keep_unfinished_days)
    registry = model_registry(settings)
    console, count = Console(), 0
    for leftover in registry.leftovers(name, datetime.now(UTC) - age):
        if not (options.dry_run or registry.delete(leftover)):
            continue
        count += 1
        console.print(
            f"run {leftover.run_id}, {leftover.status}, of {leftover.began:%Y-%m-%d %H:%M} UTC",
            soft_wrap=True,
            highlight=False,
        )
    did = "would be deleted" if options.dry_run else "deleted"
    console.print(f"{count} runs of {name} {did}.")
    return EXIT_DONE


CLEAN_REGISTRY = Command(
    "clean-registry", "delete runs that came to no version", _run, _add_arguments
)
