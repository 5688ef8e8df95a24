"""The loss: cross entropy of a global batch, whoever computes which of its rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shared.task import Training
from training_pipeline.fit.examples import Batch, Examples
from training_pipeline.rows import Indices


def class_weights(labels: npt.NDArray[np.int64], classes: int, how: str) -> npt.NDArray[np.float32]:
    """Return the weight of each class in the loss, float32 [classes].

    Args:
        labels: [rows] to learn from; every class is among them.
        classes: how many there are.
        how: ``balanced`` (each class weighs the same in sum, the mean row 1) or ``none``.
    """
    if how == "none":
        return np.ones(classes, dtype=np.float32)
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * counts)).astype(np.float32)


class LossParts:
    """Cuts a global batch into parts whose losses sum up to its weighted mean.

    Each process computes ``accumulate`` parts. Weights are divided by their sum over the *global*
    batch, so it is rows that are averaged, not parts or processes.
    """

    def __init__(
        self,
        examples: Examples,
        training: Training,
        weights: npt.NDArray[np.float32],
        *,
        rank: int,
        world: int,
        pad_token_id: int,
    ) -> None:
        self._examples = examples
        self._accumulate = training.accumulate
        self._weights = weights
        self._rank, self._world = rank, world
        self._pad_token_id = pad_token_id

    def of(self, rows: Indices) -> list[Batch]:
        """Return this process's parts of a global batch."""
        weights = self._weights[self._examples.labels[rows]]
        weights = weights / weights.sum()
        places = np.array_split(np.arange(len(rows)), self._accumulate * self._world)
        mine = places[self._rank * self._accumulate : (self._rank + 1) * self._accumulate]
        return [self._batch(rows, part, weights) for part in mine]

    def _batch(self, rows: Indices, part: Indices, weights: npt.NDArray[np.float32]) -> Batch:
        weight = weights[part]
        if not len(part):  # a short last batch: all processes still take the same steps
            part, weight = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.float32)
        return Batch(
            *self._examples.padded(rows[part], self._pad_token_id),
            labels=torch.from_numpy(self._examples.labels[rows[part]]),
            places=torch.from_numpy(part),
            weights=torch.from_numpy(weight),
        )


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Return this part's share of the global batch's loss; logits are [rows, labels]."""
    entropies = nn.functional.cross_entropy(logits.float(), batch.labels, reduction="none")
    return (entropies * batch.weights).sum()
