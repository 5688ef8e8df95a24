"""Reliability: whether answers given with 80 % confidence are right 80 % of the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The held-out rows whose confidence lies in one stretch."""

    rows: int
    confidence: float
    """Mean probability that the rows' predicted labels were given."""
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy."""

    error: float
    """Expected calibration error: the mean gap between the two over rows, 0 to 1."""
    bins: tuple[Bin, ...]
    """By rising confidence; empty ones are left out."""


def reliability(
    probabilities: npt.NDArray[np.floating], true: npt.NDArray[np.int64]
) -> Reliability:
    """Compare confidence with accuracy in BINS stretches of equal width (Guo et al. 2017).

    Args:
        probabilities: [rows, labels]; rows sum to one.
        true: [rows], positions of the true labels.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == true
    # A confidence of exactly 1 belongs to the last stretch.
    stretch = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(stretch, minlength=BINS)
    there = np.flatnonzero(rows)
    confident = np.bincount(stretch, weights=confidence, minlength=BINS)[there] / rows[there]
    accurate = np.bincount(stretch, weights=right, minlength=BINS)[there] / rows[there]
    error = float(np.sum(np.abs(confident - accurate) * rows[there]) / len(true))
    return Reliability(
        error=error,
        bins=tuple(
            Bin(rows=int(rows[i]), confidence=float(c), accuracy=float(a))
            for i, c, a in zip(there, confident, accurate, strict=True)
        ),
    )


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return probabilities [rows, labels] of logits of that shape."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    probabilities: npt.NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities
