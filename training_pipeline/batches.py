"""Batches of texts of like length, so that little of the work goes into padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from training_pipeline.rows import Indices

BATCHES_PER_CHUNK = 50
"""Texts are sorted by length inside chunks of this many batches: order stays random at large."""

Ids = npt.NDArray[np.int64]


def shuffled_batches(
    lengths: npt.NDArray[np.int64], batch_size: int, random: np.random.Generator
) -> list[Indices]:
    """Return the batches of one epoch: every position once, neighbours of like length.

    Args:
        lengths: tokens of each text.
        batch_size: texts a batch; the last of a chunk may hold fewer.
        random: decides the order.
    """
    order = random.permutation(len(lengths))
    chunk = batch_size * BATCHES_PER_CHUNK
    batches: list[Indices] = []
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def batches_by_length(lengths: npt.NDArray[np.int64], batch_size: int) -> Iterator[Indices]:
    """Yield every position once, shortest texts first: for measuring, where order is nothing."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(tokens: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Ids, Ids]:
    """Return (input_ids, attention_mask), both [texts, longest], padded on the right."""
    longest = max(len(ids) for ids in tokens)
    input_ids = np.full((len(tokens), longest), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask
