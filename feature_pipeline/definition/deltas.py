"""What an event adds to the counts of a key, and when the windows take it away again.

A delta is narrow: it names what it changes by a number. Events come with few deltas each, and a
sort moves four columns rather than one for each count.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shared.features import KNOWN_AT, count_columns
from shared.task import Task, Window

MOMENT = pl.Datetime("us", "UTC")

DELTA_SCHEMA = pl.Schema(
    {"at": MOMENT, "key": pl.String(), "what": pl.UInt16(), "delta": pl.Int32()}
)
"""From ``at`` on, the counts of ``key`` that ``what`` stands for are greater by ``delta``."""


@dataclass(frozen=True)
class Counts:
    """The numbers by which deltas name what they change.

    A number below ``len(columns)`` is one count in one window; the numbers after that stand for a
    mention, and for each label, in all windows at once.
    """

    task: Task

    @property
    def columns(self) -> list[str]:
        """The counts in order, the kinds of the shortest window first."""
        return count_columns(self.task)

    @property
    def kinds(self) -> list[str]:
        """What is counted in each window; the first is the mention."""
        return ["mentions", *self.task.labels]

    @property
    def arrival(self) -> int:
        """The number of a mention in all windows."""
        return len(self.columns)

    @property
    def changed_by(self) -> dict[str, tuple[int, int]]:
        """Per count, the two numbers that stand for it: its own, and its kind in all windows."""
        return {
            name: (number, self.arrival + number % len(self.kinds))
            for number, name in enumerate(self.columns)
        }

    def label_numbers(self, window: int | None) -> dict[str, int]:
        """Return the number of each label in the window of this index, or in all windows."""
        first = self.arrival if window is None else window * len(self.kinds)
        return {label: first + kind for kind, label in enumerate(self.kinds) if kind}


def deltas_of(task: Task, events: pl.DataFrame) -> pl.DataFrame:
    """Return the deltas of events (``activity.EVENT_SCHEMA``), as ``DELTA_SCHEMA`` rows."""
    counts = Counts(task)
    known, before = pl.col(KNOWN_AT), pl.col("previous_known_at")
    mentions = events.filter(pl.col("label").is_null())
    labels = events.filter(pl.col("label").is_not_null())
    corrections = labels.filter(pl.col("previous_label").is_not_null())
    frames = [
        mentions.select(known.alias("at"), "key", *_change(pl.lit(counts.arrival), 1)),
        labels.select(known.alias("at"), "key", *_change(_number(counts, "label", None), 1)),
    ]
    for index, window in enumerate(task.activity.spans):
        leaves = _expiry(known, window).alias("at")
        mention = pl.lit(index * len(counts.kinds))
        frames.append(mentions.select(leaves, "key", *_change(mention, -1)))
        frames.append(labels.select(leaves, "key", *_change(_number(counts, "label", index), -1)))
        if corrections.is_empty():
            continue
        # A corrected label is withdrawn, unless the window has forgotten it by itself.
        left = _expiry(before, window)
        counted = corrections.filter(left > known)
        previous = _number(counts, "previous_label", index)
        frames.append(counted.select(known.alias("at"), "key", *_change(previous, -1)))
        frames.append(counted.select(left.alias("at"), "key", *_change(previous, 1)))
    return pl.concat(frames)


def compacted(deltas: pl.DataFrame) -> pl.DataFrame:
    """Return deltas with one row for each moment, key and count; none that adds nothing."""
    return (
        deltas.group_by("at", "key", "what").agg(pl.col("delta").sum()).filter(pl.col("delta") != 0)
    )


def _expiry(moment: pl.Expr, window: Window) -> pl.Expr:
    """Return when the window forgets what became known at a moment."""
    return moment.dt.truncate(window.tile) + window.tile + window.length


def _number(counts: Counts, column: str, window: int | None) -> pl.Expr:
    return pl.col(column).replace_strict(counts.label_numbers(window), return_dtype=pl.UInt16)


def _change(what: pl.Expr, delta: int) -> list[pl.Expr]:
    return [what.cast(pl.UInt16).alias("what"), pl.lit(delta, pl.Int32).alias("delta")]
