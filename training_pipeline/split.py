"""The split: near-copies folded together, the newest texts held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.errors import StateError
from shared.task import Training
from training_pipeline.result import RowCounts
from training_pipeline.rows import Rows

_LEAST_ROWS = 2


@dataclass(frozen=True)
class Split:
    """What the model learns from and what it is measured on. No text has a copy on both sides."""

    train: Rows
    holdout: Rows
    folded: int
    """Rows left out because an earlier row is a near-copy of them."""


def fold_copies(rows: Rows) -> Rows:
    """Return one row per fingerprint: the one that was known first, in the order of the rows."""
    _, first = np.unique(rows.fingerprints.astype(str), return_index=True)
    return rows.take(np.sort(first))


def split(rows: Rows, training: Training, labels: list[str]) -> Split:
    """Fold near-copies, then hold out the newest rows.

    Args:
        rows: labelled rows, oldest first.
        training: gives the share and the largest number of rows held out, and the largest number
            of rows trained on; of either, the newest are kept.
        labels: the task's labels.

    Raises:
        StateError: there are too few rows, or a label has none to learn from.
    """
    single = fold_copies(rows)
    if len(single) < _LEAST_ROWS:
        raise StateError(
            "split of the labelled mentions",
            expected=f"{_LEAST_ROWS} texts at least: one to learn from, one to be measured on",
            found=f"{len(single)}, of {len(rows)} labelled mentions without near-copies",
            remedy="Load more labelled mentions.",
        )
    held = min(max(1, round(len(single) * training.holdout_share)), training.max_holdout)
    older, holdout = single.take(slice(0, -held)), single.take(slice(-held, None))
    train = older.take(slice(-training.max_texts, None)) if training.max_texts else older
    absent = sorted({labels[i] for i in range(len(labels)) if not np.any(train.labels == i)})
    if absent:
        raise StateError(
            "split of the labelled mentions",
            expected=f"every label among the {len(train)} texts to train on",
            found=f"no text labelled {', '.join(absent)}",
            remedy="Load more labelled mentions, or raise training.max_texts.",
        )
    return Split(train=train, holdout=holdout, folded=len(rows) - len(single))


def row_counts(rows: Rows, parts: Split) -> RowCounts:
    """Return how many labelled mentions went where."""
    return RowCounts(
        labelled=len(rows), folded=parts.folded, train=len(parts.train), holdout=len(parts.holdout)
    )
