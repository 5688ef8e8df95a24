"""The calibration: one temperature, so that a probability is about the share of right answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training_pipeline.fit.validation import Logits, cross_entropies
from training_pipeline.model import MentionClassifier

MIN_ROWS = 100
"""With fewer rows to validate on, a temperature would tell of chance."""
_SHARPNESS = (0.1, 10.0)
"""Bounds of 1 / temperature: labels that are all right would ask for an infinite one."""
_ROUNDS = 60
_GOLDEN = (5**0.5 - 1) / 2
_BINS = 15


@dataclass(frozen=True)
class Calibration:
    """What the logits are divided by, and what that changed on the rows it was fitted on."""

    temperature: float
    rows: int
    error_before: float
    """Expected calibration error, 0 to 1."""
    error_after: float


def calibrate(logits: Logits, labels: npt.NDArray[np.int64]) -> Calibration | None:
    """Fit the temperature that makes the labels likeliest (Guo et al. 2017, temperature scaling).

    Args:
        logits: [rows, labels] of rows that were not learned from.
        labels: [rows], true ones.

    Returns:
        None if there are fewer than ``MIN_ROWS`` rows, or a logit is not finite.
    """
    if len(labels) < MIN_ROWS or not np.isfinite(logits).all():
        return None

    def loss(sharpness: float) -> float:
        return float(cross_entropies(logits * sharpness, labels).mean())

    # The loss is convex in the sharpness: golden-section search finds the one minimum.
    low, high = _SHARPNESS
    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    sharpness = (low + high) / 2
    return Calibration(
        temperature=1 / sharpness,
        rows=len(labels),
        error_before=calibration_error(logits, labels),
        error_after=calibration_error(logits * sharpness, labels),
    )


def calibration_error(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error over bins of equal width, 0 to 1."""
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (scaled / scaled.sum(axis=1, keepdims=True)).max(axis=1)
    right = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def apply_temperature(model: MentionClassifier, temperature: float) -> None:
    """Divide the logits by the temperature, inside the head: whoever serves needs not know."""
    with torch.no_grad():
        model.head.weight.div_(temperature)
        model.head.bias.div_(temperature)
