from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training_pipeline.batches import batches_by_length, pad, shuffled_batches

lengths_of_texts = st.lists(st.integers(1, 64), min_size=1, max_size=400)


@given(lengths=lengths_of_texts, size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_an_epoch_is_every_text_once(lengths: list[int], size: int, seed: int) -> None:
    """Batches hold every text once, none more than asked, and the same seed gives the same."""
    batches = shuffled_batches(np.array(lengths), size, np.random.default_rng(seed))
    again = shuffled_batches(np.array(lengths), size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))


def test_bucketing_saves_padding() -> None:
    """Texts of mixed lengths are padded by a tenth at most, where random batches double them."""
    random = np.random.default_rng(1)
    lengths = random.integers(4, 64, 2_000)
    batches = shuffled_batches(lengths, 32, random)
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum()


@given(lengths=lengths_of_texts, size=st.integers(1, 40))
def test_measuring_sees_every_text_once(lengths: list[int], size: int) -> None:
    """Batches by length hold every text once, shortest first."""
    order = np.concatenate(list(batches_by_length(np.array(lengths), size)))
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert np.all(np.diff(np.array(lengths)[order]) >= 0)


def test_padding_is_masked() -> None:
    """Shorter texts end in padding, where the mask is 0."""
    input_ids, attention_mask = pad([[5, 6, 7], [8]], pad_token_id=9)
    assert input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
