"""Sliding-window activity of subjects and sources, as a running sum of signed deltas.

A mention known at ``t`` adds one to its key at ``t`` and takes it away when its tile leaves the
window. With tile ``k = floor(t / tile)`` that is at ``(k + 1) * tile + length``::

    tile      |-- k --|
    mention       t
    counted       +=========================+
                      |------- length ------|

so a window covers at least ``length`` and at most ``length + tile``. The running sum of the deltas
in order of time is the feature's changelog: rows as events come and rows as they expire. Sums are
integers, so the order of adding is of no matter, and neither is how a stream is cut into batches:
``advance`` twice on halves gives what ``advance`` once on the whole gives.

The tiled tail is known as a sawtooth window (Airbnb's Chronon describes it).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

import polars as pl

from feature_pipeline.definition.deltas import (
    DELTA_SCHEMA,
    MOMENT,
    Counts,
    compacted,
    deltas_of,
)
from feature_pipeline.definition.running_sums import running_sums
from shared.events import EARLIEST
from shared.features import KNOWN_AT, count_columns
from shared.task import Task

_MERGE_ROWS = 50_000
"""Fewer deltas than this are not worth merging: the stream comes often, with few."""

EVENT_SCHEMA = pl.Schema(
    {
        KNOWN_AT: MOMENT,
        "key": pl.String(),
        "label": pl.String(),
        "previous_label": pl.String(),
        "previous_known_at": MOMENT,
    }
)
"""Events of one role. ``label`` is null for a mention. A label that corrects an earlier one of the
same mention names it and when it was known; mentions are unique by then (see ``eventlog``)."""


@dataclass(frozen=True)
class ActivityState:
    """What ``advance`` carries from one batch to the next.

    Attributes:
        totals: a row per key: ``key``, the counts, ``first_seen``, ``last_seen``.
        pending: deltas that take effect later, as ``deltas.DELTA_SCHEMA`` rows.
        watermark: all that was known up to here has been counted.
        merged_rows: rows of ``pending`` when those of one moment, key and count were last merged.
    """

    totals: pl.DataFrame
    pending: pl.DataFrame
    watermark: datetime
    merged_rows: int = 0

    @classmethod
    def empty(cls, task: Task) -> ActivityState:
        """Return the state before the first event."""
        counts = dict.fromkeys(count_columns(task), pl.Int64())
        return cls(
            totals=pl.DataFrame(
                schema={"key": pl.String(), **counts, "first_seen": MOMENT, "last_seen": MOMENT}
            ),
            pending=pl.DataFrame(schema=DELTA_SCHEMA),
            watermark=EARLIEST,
        )

    def of_keys(self, keys: pl.Series) -> ActivityState:
        """Return the part of the state that belongs to some keys."""
        return ActivityState(
            totals=self.totals.filter(pl.col("key").is_in(keys.implode())),
            pending=self.pending.filter(pl.col("key").is_in(keys.implode())),
            watermark=self.watermark,
            merged_rows=self.merged_rows,
        )

    def to_bytes(self) -> bytes:
        """Serialise as Arrow IPC."""
        pending = compacted(self.pending)
        packed = pl.DataFrame(
            {
                "totals": [_to_ipc(self.totals)],
                "pending": [_to_ipc(pending)],
                "watermark": [self.watermark],
            },
            schema_overrides={"watermark": MOMENT},
        )
        return _to_ipc(packed)

    @classmethod
    def from_bytes(cls, data: bytes) -> ActivityState:
        """Read what ``to_bytes`` wrote."""
        packed = pl.read_ipc(BytesIO(data)).row(0, named=True)
        pending = pl.read_ipc(BytesIO(packed["pending"]))
        return cls(
            totals=pl.read_ipc(BytesIO(packed["totals"])),
            pending=pending,
            watermark=packed["watermark"],
            merged_rows=pending.height,
        )


def advance(
    task: Task, state: ActivityState, events: pl.DataFrame, watermark: datetime
) -> tuple[ActivityState, pl.DataFrame]:
    """Count events and let time pass, up to and including the watermark.

    Args:
        task: gives windows and labels.
        state: what the last call returned, or the empty state.
        events: ``EVENT_SCHEMA``, known after ``state.watermark`` and not after ``watermark``.
        watermark: no event known at or before it will come later.

    Returns:
        The new state, and the changelog: a row per key and moment at which a count changed or a
        mention came, with ``key``, ``event_timestamp``, counts, label shares (0 to 1; 0 without
        labels), ``first_seen`` and ``last_seen``, ordered by key and time.

    Raises:
        ValueError: an event is not between the two watermarks.
    """
    _check_times(state, events, watermark)
    fresh = deltas_of(task, events)
    waits = pl.col("at") > watermark
    due, pending, merged_rows = fresh.filter(~waits), state.pending, state.merged_rows
    expired = pending.filter(~waits)
    if not expired.is_empty():  # only where a tile ends; else nothing large is copied
        due, pending = pl.concat([due, expired]), pending.filter(waits)
    pending = pl.concat([pending, fresh.filter(waits)])
    if pending.height > 2 * merged_rows + _MERGE_ROWS:
        pending = compacted(pending)
        merged_rows = pending.height
    running = running_sums(Counts(task), state.totals, due)
    touched = running.filter(pl.col("key").ne_missing(pl.col("key").shift(-1)))
    untouched = state.totals.join(touched, on="key", how="anti")
    totals = pl.concat([untouched, touched.select(untouched.columns)])
    changelog = _with_shares(task, running.rename({"at": KNOWN_AT}))
    return ActivityState(totals, pending, watermark, merged_rows), changelog


def _with_shares(task: Task, running: pl.DataFrame) -> pl.DataFrame:
    """Add, per window and label, its part of the labels in the window; 0 where there are none."""
    labelled = {
        f"labelled_{window.name}": pl.sum_horizontal(
            f"{label}_{window.name}" for label in task.labels
        )
        for window in task.activity.spans
    }
    shares = {
        f"share_{label}_{window.name}": pl.col(f"{label}_{window.name}")
        / pl.col(f"labelled_{window.name}")
        for window in task.activity.spans
        for label in task.labels
    }
    return (
        running.with_columns(**labelled)
        .with_columns(**{name: share.fill_nan(0.0) for name, share in shares.items()})
        .drop(labelled)
    )


def _check_times(state: ActivityState, events: pl.DataFrame, watermark: datetime) -> None:
    if watermark < state.watermark:
        raise ValueError(f"the watermark went back from {state.watermark} to {watermark}")
    if events.is_empty():
        return
    early, late = events.select(
        pl.col(KNOWN_AT).min().alias("early"), pl.col(KNOWN_AT).max().alias("late")
    ).row(0)
    if early <= state.watermark or late > watermark:
        raise ValueError(
            f"events known from {early} to {late} do not lie after {state.watermark} "
            f"and up to {watermark}"
        )


def _to_ipc(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()
