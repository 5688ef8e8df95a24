from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_pipeline.evaluation.reliability import BINS, reliability, softmax


def certain(confidences: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return probabilities [rows, 2] of label 0."""
    first = np.array(confidences)
    return np.stack([first, 1 - first], axis=1)


def test_an_honest_model_has_no_error() -> None:
    """Of ten answers with a confidence of 0.8 eight are right."""
    found = reliability(certain([0.8] * 10), np.array([0] * 8 + [1] * 2))
    assert found.error == pytest.approx(0)


def test_the_error_is_the_mean_gap() -> None:
    """Half the rows are too sure by 0.45, the other half by nothing: the mean is 0.225."""
    probabilities = certain([0.95] * 10 + [0.6] * 10)
    true = np.array([0] * 5 + [1] * 5 + [0] * 6 + [1] * 4)
    assert reliability(probabilities, true).error == pytest.approx(0.225)


@given(
    logits=st.lists(st.tuples(*[st.floats(-20, 20, width=32)] * 3), min_size=1, max_size=50),
    data=st.data(),
)
def test_bins_hold_every_row(logits: list[tuple[float, ...]], data: st.DataObject) -> None:
    """Every row is in one bin, and the error lies between none and one."""
    probabilities = softmax(np.array(logits, dtype=np.float32))
    true = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(logits), max_size=len(logits)))
    )
    found = reliability(probabilities, true)
    assert sum(one.rows for one in found.bins) == len(logits)
    assert len(found.bins) <= BINS
    assert 0 <= found.error <= 1
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_full_confidence_has_a_bin() -> None:
    """A probability of exactly one belongs to the last."""
    (last,) = reliability(certain([1.0]), np.array([0])).bins
    assert (last.rows, last.confidence, last.accuracy) == (1, 1.0, 1.0)
