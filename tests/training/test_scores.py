from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training_pipeline.evaluation.scores import score

LABELS = ["bad", "fair", "good"]
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(pairs)
def test_scores_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    """Precision, recall, F1 per label and their mean are what scikit-learn gives."""
    true, predicted = (np.array(column) for column in zip(*rows, strict=True))
    ours = score(predicted, true, LABELS)
    there = np.unique(true)
    theirs = precision_recall_fscore_support(true, predicted, labels=there, zero_division=0)
    assert [one.precision for one in ours.per_label] == pytest.approx(theirs[0].tolist())
    assert [one.recall for one in ours.per_label] == pytest.approx(theirs[1].tolist())
    assert [one.f1 for one in ours.per_label] == pytest.approx(theirs[2].tolist())
    assert ours.macro_f1 == pytest.approx(theirs[2].mean())
    assert ours.accuracy == pytest.approx(np.mean(true == predicted))
    assert np.array_equal(ours.confusion, confusion_matrix(true, predicted, labels=[0, 1, 2]))
    assert [one.label for one in ours.per_label] == [LABELS[i] for i in there]


def test_intervals_hold_their_figures() -> None:
    """Each figure lies in its interval, and the same seed gives the same interval."""
    random = np.random.default_rng(3)
    true = random.integers(0, 3, 500)
    predicted = np.where(random.random(500) < 0.8, true, random.integers(0, 3, 500))
    scores = score(predicted, true, LABELS, seed=5)
    assert scores.macro_f1_interval.low < scores.macro_f1 < scores.macro_f1_interval.high
    for one in scores.per_label:
        assert one.recall_interval.low < one.recall < one.recall_interval.high
        assert one.precision_interval.low < one.precision < one.precision_interval.high
    again = score(predicted, true, LABELS, seed=5)
    assert again.macro_f1_interval == scores.macro_f1_interval
