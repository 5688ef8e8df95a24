"""Slices: accuracy by subject, source, length, language and time, where rows are enough."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training_pipeline.evaluation.intervals import Interval, wilson
from training_pipeline.rows import Indices, Rows

LENGTHS = (8, 16, 32, 64, 128, 256)
"""Tokens at which a new bucket of lengths begins."""
TIMES = 4
"""Parts of equally many rows into which the held-out time is cut."""
UNTOLD = "untold"
"""Of rows whose subject, source or language nobody told."""


@dataclass(frozen=True)
class Slice:
    """The rows that have one thing in common."""

    dimension: str
    value: str
    accuracy: float
    interval: Interval
    positions: Indices = field(repr=False)
    """Of its rows among the held-out ones."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.positions)

    @property
    def name(self) -> str:
        """Return dimension and value."""
        return f"{self.dimension} {self.value}"


def slices(
    rows: Rows,
    right: npt.NDArray[np.bool_],
    tokens: npt.NDArray[np.int64],
    *,
    min_rows: int,
) -> tuple[Slice, ...]:
    """Return the slices that have enough rows, the worst first.

    The worst is the one with the lowest upper end of its interval: low accuracy of few rows may
    be chance.

    Args:
        rows: held-out rows, oldest first.
        right: [rows], whether the predicted label is the true one.
        tokens: [rows], how long each text is.
        min_rows: fewer rows make no slice.
    """
    keys = {
        "subject": _told(rows.subject_ids),
        "source": _told(rows.source_ids),
        "language": _told(rows.languages),
        "length": _length_buckets(tokens),
        "time": _time_parts(rows.known_at),
    }
    found = [
        _slice(dimension, str(value), positions, right)
        for dimension, column in keys.items()
        for value in np.unique(column)
        if len(positions := np.flatnonzero(column == value)) >= min_rows
    ]
    return tuple(sorted(found, key=lambda one: (one.interval.high, one.name)))


def _slice(dimension: str, value: str, positions: Indices, right: npt.NDArray[np.bool_]) -> Slice:
    successes = int(right[positions].sum())
    return Slice(
        dimension=dimension,
        value=value,
        accuracy=successes / len(positions),
        interval=wilson(successes, len(positions)),
        positions=positions,
    )


def _told(column: npt.NDArray[np.object_]) -> npt.NDArray[np.str_]:
    return np.array([value or UNTOLD for value in column], dtype=np.str_)


def _length_buckets(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    begins = (1, *LENGTHS)
    ends = (*(str(start - 1) for start in LENGTHS), "more")
    names = np.array([f"{a} to {b} tokens" for a, b in zip(begins, ends, strict=True)])
    return names[np.searchsorted(np.array(LENGTHS), tokens, side="right")]


def _time_parts(known_at: npt.NDArray[np.datetime64]) -> npt.NDArray[np.str_]:
    parts = [part for part in np.array_split(np.arange(len(known_at)), TIMES) if len(part)]
    begins = [known_at[part[0]].astype("datetime64[m]") for part in parts]
    # Numbered: much can come in one minute.
    names = [f"part {number}, from {begin}" for number, begin in enumerate(begins, start=1)]
    return np.repeat(np.array(names, dtype=np.str_), [len(part) for part in parts])
