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

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

import polars as pl

from shared.events import EARLIEST
from shared.features import KNOWN_AT, count_columns
from shared.task import Task, Window

MOMENT = pl.Datetime("us", "UTC")

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
        pending: deltas that take effect later: ``at``, ``key``, the counts.
        watermark: all that was known up to here has been counted.
    """

    totals: pl.DataFrame
    pending: pl.DataFrame
    watermark: datetime

    @classmethod
    def empty(cls, task: Task) -> ActivityState:
        """Return the state before the first event."""
        counts = dict.fromkeys(count_columns(task), pl.Int64())
        return cls(
            totals=pl.DataFrame(
                schema={"key": pl.String(), **counts, "first_seen": MOMENT, "last_seen": MOMENT}
            ),
            pending=pl.DataFrame(schema={"at": MOMENT, "key": pl.String(), **counts}),
            watermark=EARLIEST,
        )

    def of_keys(self, keys: pl.Series) -> ActivityState:
        """Return the part of the state that belongs to some keys."""
        return ActivityState(
            totals=self.totals.filter(pl.col("key").is_in(keys.implode())),
            pending=self.pending.filter(pl.col("key").is_in(keys.implode())),
            watermark=self.watermark,
        )

    def to_bytes(self) -> bytes:
        """Serialise as Arrow IPC."""
        packed = pl.DataFrame(
            {
                "totals": [_to_ipc(self.totals)],
                "pending": [_to_ipc(self.pending)],
                "watermark": [self.watermark],
            },
            schema_overrides={"watermark": MOMENT},
        )
        return _to_ipc(packed)

    @classmethod
    def from_bytes(cls, data: bytes) -> ActivityState:
        """Read what ``to_bytes`` wrote."""
        packed = pl.read_ipc(BytesIO(data)).row(0, named=True)
        return cls(
            totals=pl.read_ipc(BytesIO(packed["totals"])),
            pending=pl.read_ipc(BytesIO(packed["pending"])),
            watermark=packed["watermark"],
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
        The new state, and the changelog: a row per key and moment at which a count changed, with
        ``key``, ``event_timestamp``, counts, label shares (0 to 1; 0 without labels),
        ``first_seen`` and ``last_seen``, ordered by key and time.

    Raises:
        ValueError: an event is not between the two watermarks.
    """
    _check_times(state, events, watermark)
    counts = count_columns(task)
    deltas = pl.concat(
        [state.pending.with_columns(seen=pl.lit(None, MOMENT)), *_deltas(task, events)],
        how="diagonal",
    ).with_columns(pl.col(counts).fill_null(0))
    summed = (
        deltas.group_by("key", "at")
        .agg(pl.col(counts).sum(), pl.col("seen").max())
        .filter(pl.any_horizontal(pl.col(counts) != 0) | pl.col("seen").is_not_null())
    )
    due = summed.filter(pl.col("at") <= watermark).sort("key", "at")
    running = _running_sums(state.totals, due, counts)
    touched = running.group_by("key", maintain_order=True).last().drop("at")
    totals = pl.concat(
        [state.totals.join(touched, on="key", how="anti"), touched.select(state.totals.columns)]
    )
    pending = summed.filter(pl.col("at") > watermark).drop("seen").select(state.pending.columns)
    changelog = running.rename({"at": KNOWN_AT}).with_columns(_shares(task))
    return ActivityState(totals=totals, pending=pending, watermark=watermark), changelog


def _deltas(task: Task, events: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the signed deltas of new events: ``at``, ``key``, some counts, ``seen``."""
    spans = task.activity.spans
    known, before = pl.col(KNOWN_AT), pl.col("previous_known_at")
    mentions = events.filter(pl.col("label").is_null())
    labels = events.filter(pl.col("label").is_not_null())
    corrections = labels.filter(pl.col("previous_label").is_not_null())

    arrivals = [pl.lit(1, pl.Int64).alias(f"mentions_{window.name}") for window in spans]
    frames = [mentions.select(known.alias("at"), "key", known.alias("seen"), *arrivals)]
    frames.append(labels.select(known.alias("at"), "key", *_label_counts(task, spans, "label", 1)))
    for window in spans:
        leaves = _expiry(known, window)
        frames.append(
            mentions.select(
                leaves.alias("at"), "key", pl.lit(-1, pl.Int64).alias(f"mentions_{window.name}")
            )
        )
        frames.append(
            labels.select(leaves.alias("at"), "key", *_label_counts(task, [window], "label", -1))
        )
        # A corrected label is withdrawn, unless the window has forgotten it by itself.
        left = _expiry(before, window)
        counted = corrections.filter(left > known)
        withdrawn = _label_counts(task, [window], "previous_label", -1)
        restored = _label_counts(task, [window], "previous_label", 1)
        frames.append(counted.select(known.alias("at"), "key", *withdrawn))
        frames.append(counted.select(left.alias("at"), "key", *restored))
    return frames


def _expiry(moment: pl.Expr, window: Window) -> pl.Expr:
    """Return when the window forgets what became known at a moment."""
    return moment.dt.truncate(window.tile) + window.tile + window.length


def _label_counts(task: Task, windows: Sequence[Window], column: str, delta: int) -> list[pl.Expr]:
    """Return one count per window and label: the delta where the label is the column's."""
    return [
        pl.when(pl.col(column) == label)
        .then(delta)
        .otherwise(0)
        .cast(pl.Int64)
        .alias(f"{label}_{window.name}")
        for window in windows
        for label in task.labels
    ]


def _running_sums(totals: pl.DataFrame, due: pl.DataFrame, counts: list[str]) -> pl.DataFrame:
    """Return the sums after each delta, per key in order of time, on top of the totals."""
    earlier = totals.rename({name: f"{name}_before" for name in totals.columns if name != "key"})
    return (
        due.join(earlier, on="key", how="left", maintain_order="left")
        .with_columns(
            *(
                pl.col(name).cum_sum().over("key") + pl.col(f"{name}_before").fill_null(0)
                for name in counts
            ),
            first_seen=pl.coalesce(
                "first_seen_before", pl.col("seen").cum_min().forward_fill().over("key")
            ),
            last_seen=pl.coalesce(
                pl.col("seen").cum_max().forward_fill().over("key"), "last_seen_before"
            ),
        )
        .select("key", "at", *counts, "first_seen", "last_seen")
    )


def _shares(task: Task) -> list[pl.Expr]:
    """Return, per window and label, its part of the labels in the window."""
    shares = []
    for window in task.activity.spans:
        labelled = pl.sum_horizontal(f"{label}_{window.name}" for label in task.labels)
        shares += [
            pl.when(labelled > 0)
            .then(pl.col(f"{label}_{window.name}") / labelled)
            .otherwise(0.0)
            .alias(f"share_{label}_{window.name}")
            for label in task.labels
        ]
    return shares


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
