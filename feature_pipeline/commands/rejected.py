"""What was rejected: the dead letters."""

from __future__ import annotations

import argparse
from contextlib import closing

from rich.console import Console

from feature_pipeline.bootstrap import FeaturePipeline
from feature_pipeline.commands.command import Command, count


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=count, default=20, help="how many (default: 20)")


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    with closing(pipeline.open_dead_letters()) as dead_letters:
        letters, total = dead_letters.read(options.limit), dead_letters.count()
    console = Console()
    for letter in letters:
        console.print(f"{letter.received_at:%Y-%m-%d %H:%M:%S} {letter.origin}", style="bold")
        console.print(f"  {letter.reason}", markup=False)
        console.print(f"  {letter.raw[:200]!r}", markup=False, style="dim")
    console.print(f"{len(letters)} of {total} dead letters")


DEAD_LETTERS = Command("dead-letters", "show what was rejected", _run, _add_arguments)
