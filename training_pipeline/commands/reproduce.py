"""``reproduce``: trains a registered version again and tells how far that comes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from training_pipeline.commands.command import Command, add_task
from training_pipeline.exit_codes import EXIT_DONE
from training_pipeline.progress import Terminal
from training_pipeline.repetition import Repeated, Repetition
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

if TYPE_CHECKING:
    from training_pipeline.reproduction.comparison import Difference

EXIT_LABELS, EXIT_METRICS, EXIT_NOTHING = 5, 6, 7
_EXIT_CODES = {
    "bits": EXIT_DONE,
    "labels": EXIT_LABELS,
    "metrics": EXIT_METRICS,
    "none": EXIT_NOTHING,
}
_MEANINGS = {
    "bits": "the same weights, and the same logits of every held-out text",
    "labels": "the same label of every held-out text, but not the same bits",
    "metrics": "accuracy and macro F1 within the recorded intervals, but not the same labels",
    "none": "not even accuracy and macro F1 within the recorded intervals",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Reads the rows that a version was trained on, from the table versions that it recorded,"
        " trains as it recorded, and compares. Nothing is registered. Interrupted, the same command"
        " goes on."
    )
    parser.epilog = (
        "exit codes: 0 the same bits, 5 the same labels, 6 the same metrics, 7 none of these,"
        " 1 error, 2 wrong usage, 130 interrupted"
    )
    parser.add_argument("version", metavar="VERSION", help="its number, or an alias: champion")
    add_task(parser)
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="work here, and leave the exported file (default: under FTI_HOME, removed at the end)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison as JSON")


def reproduce(
    options: argparse.Namespace, settings: TrainingSettings, stop: StopRequest | None = None
) -> int:
    """Train a version again and tell how far it came; return the exit code."""
    repetition = Repetition(options.task or settings.task, options.version, options.work)
    console = Console()
    with Terminal(console) as bars:
        repeated = repetition.run(
            settings,
            progress=bars,
            stop=stop or StopRequest(),
            warn=lambda differences: _warn(console, differences),
        )
    if repeated is None:  # the main process tells
        return EXIT_DONE
    _show(console, repeated)
    if options.json:
        from shared.disk import write_whole

        write_whole(options.json, _document(repeated))
    return _EXIT_CODES[repeated.comparison.tier]


def _warn(console: Console, differences: Sequence[Difference]) -> None:
    """Tell how the environment differs, before hours of training."""
    for difference in differences:
        console.print(f"warning: {escape(str(difference))}", soft_wrap=True, highlight=False)


def _show(console: Console, repeated: Repeated) -> None:
    comparison, told, got = repeated.comparison, repeated.recorded, repeated.now
    console.print(
        f"{repeated.model}, version {repeated.version}: {comparison.tier.upper()}"
        f" — {_MEANINGS[comparison.tier]}.",
        soft_wrap=True,
    )
    for name in ("accuracy", "macro_f1"):
        band = getattr(told.evaluation, f"{name}_band")
        console.print(
            f"{name.replace('_', ' ')}: {getattr(told.evaluation, name):.4f} recorded"
            f" ({band.low:.4f} to {band.high:.4f}), {getattr(got.evaluation, name):.4f} now"
        )
    first = comparison.first
    if first is None:
        console.print("Nothing differs.")
        return
    console.print(f"First difference: {first.step}, {escape(str(first))}", soft_wrap=True)
    others: dict[str, list[str]] = {}
    for difference in comparison.differences[1:]:
        others.setdefault(difference.step, []).append(difference.what)
    for step, whats in others.items():
        console.print(escape(f"  then {step}: {', '.join(whats)}"), soft_wrap=True)


def _document(repeated: Repeated) -> str:
    from training_pipeline.reproduction.comparison import ComparisonDocument

    return ComparisonDocument(
        model=repeated.model,
        version=repeated.version,
        tier=repeated.comparison.tier,
        first_difference=repeated.comparison.first,
        differences=repeated.comparison.differences,
        recorded=repeated.recorded,
        now=repeated.now,
    ).model_dump_json(indent=2)


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    stop = StopRequest()
    stop.listen()
    return reproduce(options, settings, stop)


REPRODUCE = Command(
    "reproduce", "train a version again and tell how far it comes", _run, _add_arguments
)
