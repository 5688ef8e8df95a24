from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import StateError
from shared.task import Training
from tests.training.sample import LABELS, sample_rows
from training_pipeline.rows import Rows
from training_pipeline.split import fold_copies, split


def rows_of(fingerprints: list[int], labels: list[int]) -> Rows:
    """Return rows with these fingerprints and labels, oldest first."""
    rows = sample_rows(len(fingerprints))
    return dataclasses.replace(
        rows,
        fingerprints=np.array([str(x) for x in fingerprints], dtype=object),
        labels=np.array(labels),
    )


some_rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=4, max_size=80)


@given(
    drawn=some_rows,
    share=st.floats(0.05, 0.8),
    max_holdout=st.integers(1, 20),
    max_texts=st.none() | st.integers(1, 40),
)
def test_no_copy_on_both_sides(
    drawn: list[tuple[int, int]], share: float, max_holdout: int, max_texts: int | None
) -> None:
    """Whatever the copies, no fingerprint stands twice, and every held-out row is newer."""
    rows = rows_of([f for f, _ in drawn], [label for _, label in drawn])
    training = Training(base="x", holdout_share=share, max_holdout=max_holdout, max_texts=max_texts)
    try:
        parts = split(rows, training, LABELS)
    except StateError:
        return  # a label has no text left to train on
    together = [*parts.train.fingerprints, *parts.holdout.fingerprints]
    assert len(set(together)) == len(together)
    assert parts.train.known_at.max() < parts.holdout.known_at.min()
    assert 1 <= len(parts.holdout) <= max_holdout
    assert max_texts is None or len(parts.train) <= max_texts
    assert parts.folded == len(rows) - len({f for f, _ in drawn})


def test_the_first_known_copy_stays() -> None:
    """Of near-copies, the one known first is kept, and rows stay in their order."""
    kept = fold_copies(rows_of([7, 3, 7, 1, 3], [0, 1, 1, 0, 0]))
    assert kept.mention_ids.tolist() == ["m00000", "m00001", "m00003"]


def test_the_newest_texts_are_trained_on() -> None:
    """With fewer texts wanted than there are, those next to the held-out ones are kept."""
    training = Training(base="x", holdout_share=0.2, max_texts=3)
    parts = split(sample_rows(10), training, LABELS)
    assert parts.train.mention_ids.tolist() == ["m00005", "m00006", "m00007"]
    assert parts.holdout.mention_ids.tolist() == ["m00008", "m00009"]


def test_a_label_without_texts_is_named() -> None:
    """A label that has only held-out rows cannot be learned, and the message names it."""
    rows = rows_of(list(range(10)), [0] * 9 + [1])
    with pytest.raises(StateError, match="no text labelled positive"):
        split(rows, Training(base="x"), LABELS)


@pytest.mark.parametrize("copies", [1, 5])
def test_a_single_text_cannot_be_split(copies: int) -> None:
    """However many copies of it there are; the message tells how many rows that is."""
    with pytest.raises(StateError, match=f"found 1, of {copies} labelled mentions") as raised:
        split(rows_of([7] * copies, [0] * copies), Training(base="x"), LABELS)
    assert raised.value.remedy == "Load more labelled mentions."
