"""A process that computes activity for ever, under a lock, and tells how far it is: for tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import repeat
from pathlib import Path

import polars as pl

from feature_pipeline.batch import activity_parts
from feature_pipeline.batch.activity_parts import each_role
from feature_pipeline.definition.records import KnownMention, label_table, mention_table
from feature_pipeline.definition.transform import EventTables
from shared.events import Mention
from shared.file_lock import hold_file
from tests.features.conftest import START, small_task


def main(lock: Path) -> None:
    """Compute until interrupted; a view that was told to stop waits for a byte before it does."""
    mention = Mention(
        mention_id="m", subject_id="s", source_id="a", text="fine", published_at=START
    )
    history = EventTables(mention_table([KnownMention(mention, START)]), label_table([]))
    activity_parts._slices = lambda events, _: repeat(events)  # type: ignore[assignment]
    try:
        with hold_file(lock, place="features", remedy=""):
            each_role(small_task(), history, START + timedelta(hours=1), _write)
    finally:
        _tell("freed")


def _write(view: str, parts: Iterator[tuple[int, pl.DataFrame]]) -> None:
    del view
    next(parts)
    _tell("writing")
    try:
        for _ in parts:
            pass
    finally:
        _tell("stopping")
        os.read(sys.stdin.fileno(), 1)
        _tell("stopped")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
