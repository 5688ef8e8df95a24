"""The validation: logits of the rows that were held back, and how good they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training_pipeline.batches import batches_by_length
from training_pipeline.fit.examples import Examples
from training_pipeline.fit.processes import Processes
from training_pipeline.model import MentionClassifier

Logits = npt.NDArray[np.float64]

_BATCH = 32


@dataclass(frozen=True)
class Validated:
    """How rows that were not learned from are answered."""

    logits: Logits
    """[rows, labels]"""
    labels: npt.NDArray[np.int64]
    """[rows], the true ones."""

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats, each row weighing the same."""
        return float(cross_entropies(self.logits, self.labels).mean())


class Validation:
    """Rows that weights are judged by, not learned from."""

    def __init__(
        self,
        examples: Examples,
        class_weights: npt.NDArray[np.float32],
        processes: Processes,
        *,
        pad_token_id: int,
    ) -> None:
        self.examples = examples
        self._weights = class_weights[examples.labels].astype(np.float64)
        self._processes = processes
        self._pad_token_id = pad_token_id

    def logits(self, model: MentionClassifier) -> Logits:
        """Return logits [rows, labels], the same in every process.

        Each batch is computed by one process, whose neighbours add zeros: the bits do not depend
        on their number.
        """
        answers = np.zeros((len(self.examples), model.head.out_features))
        processes = self._processes
        training = model.training
        model.eval()
        batches = list(batches_by_length(self.examples.lengths, _BATCH))
        for rows in batches[processes.rank :: processes.world]:
            inputs = self.examples.padded(rows, self._pad_token_id)
            with torch.inference_mode():
                logits = model(*(tensor.to(processes.device) for tensor in inputs))
            answers[rows] = logits.double().cpu().numpy()
        model.train(training)
        return processes.sum(answers)

    def validated(self, model: MentionClassifier) -> Validated:
        """Return logits and labels of all rows, the same in every process."""
        return Validated(self.logits(model), self.examples.labels)

    def loss(self, model: MentionClassifier) -> float:
        """Return the cross entropy, classes weighted as in training."""
        entropies = cross_entropies(self.logits(model), self.examples.labels)
        return float(np.average(entropies, weights=self._weights))


def cross_entropies(logits: Logits, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the cross entropy of each row in nats, [rows]; logits are [rows, labels]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(shifted).sum(axis=1))
    entropies: npt.NDArray[np.float64] = sums - shifted[np.arange(len(labels)), labels]
    return entropies
