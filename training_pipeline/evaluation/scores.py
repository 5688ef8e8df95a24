"""The scores: how well labels were predicted, over all and per label, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training_pipeline.evaluation.intervals import (
    Counts,
    Interval,
    percentiles,
    resample,
    wilson,
)

Labels = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScores:
    """How well one label was predicted; a figure without rows is 0, as in scikit-learn."""

    label: str
    rows: int
    """Held-out rows that truly have the label."""
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    f1: float


@dataclass(frozen=True)
class Scores:
    """How well labels were predicted; all from 0 to 1."""

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    """Mean over the labels that a held-out row has."""
    macro_f1_interval: Interval
    per_label: tuple[LabelScores, ...]
    """In the task's order; a label that no held-out row has is left out."""
    confusion: Counts = field(repr=False)
    """[true labels, predicted labels]: rows."""

    @property
    def recall(self) -> dict[str, float]:
        """Recall per label."""
        return {one.label: one.recall for one in self.per_label}


def score(predicted: Labels, true: Labels, labels: list[str], *, seed: int = 0) -> Scores:
    """Compare predicted labels with the true ones.

    Args:
        predicted: [rows], positions in ``labels``.
        true: [rows], positions in ``labels``; at least one row.
        labels: the task's labels.
        seed: of the bootstrap.
    """
    cells = confusion(predicted, true, len(labels))
    drawn = resample(cells, seed)
    precision, recall, f1 = per_label(cells)
    drawn_precision, drawn_recall, drawn_f1 = per_label(drawn)  # each [resamples, labels]
    there = np.flatnonzero(cells.sum(axis=1))
    right, rows = int(np.trace(cells)), int(cells.sum())
    return Scores(
        accuracy=right / rows,
        accuracy_interval=wilson(right, rows),
        macro_f1=float(_filled(f1)[there].mean()),
        macro_f1_interval=percentiles(_filled(drawn_f1)[:, there].mean(axis=1)),
        per_label=tuple(
            LabelScores(
                label=labels[i],
                rows=int(cells[i].sum()),
                precision=float(_filled(precision)[i]),
                precision_interval=percentiles(drawn_precision[:, i]),
                recall=float(_filled(recall)[i]),
                recall_interval=percentiles(drawn_recall[:, i]),
                f1=float(_filled(f1)[i]),
            )
            for i in there
        ),
        confusion=cells,
    )


def confusion(predicted: Labels, true: Labels, labels: int) -> Counts:
    """Return [true labels, predicted labels]: how many rows."""
    flat = np.bincount(true * labels + predicted, minlength=labels * labels)
    return flat.astype(np.int64).reshape(labels, labels)


def per_label(cells: Counts) -> tuple[Figures, Figures, Figures]:
    """Return precision, recall and F1, each [..., labels], of confusions [..., true, predicted].

    A figure is not a number where it has no rows.
    """
    right = np.diagonal(cells, axis1=-2, axis2=-1)  # [..., labels]
    true, predicted = cells.sum(axis=-1), cells.sum(axis=-2)
    return _share(right, predicted), _share(right, true), _share(2 * right, true + predicted)


def _share(part: Counts, whole: Counts) -> Figures:
    there = np.asarray(whole > 0)
    shares: Figures = np.divide(part, whole, out=np.full(part.shape, np.nan), where=there)
    return shares


def _filled(figures: Figures) -> Figures:
    return np.nan_to_num(figures)
