"""A file of history, as admitted mentions and labels plus the rows that could not be admitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_pipeline.batch.column_admission import ADMITTED_SCHEMA, ColumnAdmission
from feature_pipeline.batch.history_file import Block, read_blocks
from feature_pipeline.batch.row_admission import RowAdmission
from feature_pipeline.batch.simulated_times import simulated_times
from feature_pipeline.dead_letters import DeadLetter
from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.definition.records import (
    LABEL_SCHEMA,
    MENTION_SCHEMA,
    KnownLabel,
    KnownMention,
    known_labels,
    known_mentions,
)
from feature_pipeline.definition.transform import EventTables
from shared.errors import InputError
from shared.features import KNOWN_AT
from shared.task import Task


@dataclass(frozen=True)
class History:
    """What a file of history holds, in order of known_at.

    Attributes:
        events: mentions and labels, as tables.
        rejected: the rows that did not fit, with the reason.
        duplicates: how many rows told of a mention that another row tells of.
    """

    events: EventTables
    rejected: list[DeadLetter]
    duplicates: int

    @property
    def mentions(self) -> list[KnownMention]:
        """The mentions, each by itself: for a few of them."""
        return known_mentions(self.events.mentions)

    @property
    def labels(self) -> list[KnownLabel]:
        """The labels, each by itself: for a few of them."""
        return known_labels(self.events.labels)

    @property
    def rows(self) -> int:
        """The number of rows that were read."""
        return self.events.mentions.height + len(self.rejected) + self.duplicates

    def check_rejected(self, path: Path, task: Task) -> None:
        """Check that no more rows were rejected than the task allows; none, if no row fitted.

        Args:
            path: of the file, for the error.
            task: says which share may be rejected.

        Raises:
            InputError: more were.
        """
        rejected, allowed = len(self.rejected), task.input.max_rejected_share
        if self.rows and self.events.mentions.is_empty():
            allowed = 0.0
        if rejected > allowed * self.rows:
            raise InputError(
                str(path),
                expected=f"at most {allowed:.1%} of the rows rejected",
                found=f"{rejected} of {self.rows}; the first: {self.rejected[0].reason}",
                remedy="Mend the file or the task file; nothing of it was loaded. After a backfill "
                "`python -m feature_pipeline dead-letters` shows the rejected rows.",
            )

    def newest(self, count: int) -> History:
        """Return the newest mentions with their labels, and nothing else."""
        return History(self._events_of(self.events.mentions.tail(count)), [], 0)

    def without_newest(self, count: int) -> History:
        """Return everything but the newest mentions and their labels."""
        mentions = self.events.mentions
        rest = mentions.head(max(0, mentions.height - count))
        return replace(self, events=self._events_of(rest))

    def _events_of(self, mentions: pl.DataFrame) -> EventTables:
        labels = self.events.labels.join(
            mentions, on="mention_id", how="semi", maintain_order="left"
        )
        return EventTables(mentions, labels)


def read_history(path: Path, task: Task, now: datetime) -> History:
    """Read a file of history.

    A mention is known when it was published, a label when it was given or ``label_delay`` after
    its mention; nothing is known later than ``now``. With ``[input.replay]`` the times of mentions
    are simulated. The first of several rows with one mention_id counts.

    Args:
        path: the file.
        task: says how its columns map.
        now: the moment of the reading, UTC.

    Raises:
        InputError: the file cannot be read at all; rows that cannot are in ``rejected``.
    """
    blocks = read_blocks(path, task.input)
    rows = sum(block.table.height for block in blocks)
    times = None
    if task.input.replay is not None:
        times = pl.Series(simulated_times(rows, task.input.replay, now), dtype=MOMENT)
    reader = _BlockReader(ColumnAdmission(task, now), RowAdmission(task, now), now)
    admitted, at = [ADMITTED_SCHEMA.to_frame()], 0
    for block in blocks:
        height = block.table.height
        admitted.append(reader.admit(block, at, None if times is None else times[at : at + height]))
        at += height
    return _history(pl.concat(admitted), reader.rejected)


class _BlockReader:
    """Admits rows: the sure ones together, each of the others by itself."""

    def __init__(self, columns: ColumnAdmission, rows: RowAdmission, now: datetime) -> None:
        self._columns = columns
        self._rows = rows
        self._now = now
        self.rejected: list[DeadLetter] = []

    def admit(self, block: Block, first: int, times: pl.Series | None) -> pl.DataFrame:
        """Return the admitted rows of a block whose first row has a number in the file."""
        table = block.table
        if times is not None:
            table = table.with_columns(times.alias("published_at"))
        sure = self._columns.surely(table, block.whole)
        unsure = pl.int_range(table.height, dtype=pl.Int64, eager=True)
        unsure = unsure.filter(~unsure.is_in(sure["row"].implode()))
        looked_at = []
        for index in unsure:
            row = block.row(index)
            try:
                mention, label = self._rows.admit(row, None if times is None else times[index])
            except InputError as error:
                self.rejected.append(DeadLetter(row.place, str(error), row.raw, self._now))
                continue
            fields: dict[str, Any] = {} if label is None else label.model_dump()
            looked_at.append({"row": index, **fields, **mention.model_dump()})
        both = pl.concat([sure, pl.DataFrame(looked_at, schema=ADMITTED_SCHEMA)])
        return both.with_columns(pl.col("row") + first)


def _history(admitted: pl.DataFrame, rejected: list[DeadLetter]) -> History:
    """Return what admitted rows tell, the earliest of each mention."""
    ordered = admitted.sort("published_at", "row")
    unique = ordered.unique("mention_id", keep="first", maintain_order=True)
    # Nobody knows what a mention is before the mention itself is known.
    label_known_at = pl.max_horizontal("labelled_at", "published_at")
    labels = (
        unique.filter(pl.col("label").is_not_null())
        .with_columns(label_known_at.alias(KNOWN_AT))
        .sort(KNOWN_AT, maintain_order=True)
        .select(pl.col(name) for name in LABEL_SCHEMA if not name.startswith("previous_"))
        .match_to_schema(LABEL_SCHEMA, missing_columns="insert")
    )
    mentions = unique.with_columns(pl.col("published_at").alias(KNOWN_AT))
    return History(
        EventTables(mentions.select(MENTION_SCHEMA.names()), labels),
        rejected,
        admitted.height - unique.height,
    )
