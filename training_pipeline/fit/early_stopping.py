"""Early stopping: ends a fit that no longer gets better, and keeps the best weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class EarlyStopping:
    """Remembers the least validation loss and the weights that had it."""

    def __init__(self, patience: int | None) -> None:
        """Begin with nothing seen.

        Args:
            patience: evaluations in a row that may bring nothing better; None: nothing is judged.
        """
        self._patience = patience
        self.losses: dict[int, float] = {}
        """Validation loss by step."""
        self._best = math.inf
        self._waited = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self._patience is not None and self._waited >= self._patience

    def observe(self, step: int, loss: float, model: nn.Module) -> None:
        """Take note of a validation loss and, if it is the best, of the weights.

        A loss that is not a number is no better than any.
        """
        self.losses[step] = loss
        if loss < self._best:
            self._best, self._waited = loss, 0
            self._weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        else:
            self._waited += 1

    def restore_best(self, model: nn.Module) -> None:
        """Give the model its best weights, if any were seen."""
        if self._weights is not None:
            model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {
            "steps": torch.tensor(list(self.losses), dtype=torch.int64),
            "losses": torch.tensor(list(self.losses.values()), dtype=torch.float64),
            "best": self._best,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        self.losses = dict(zip(state["steps"].tolist(), state["losses"].tolist(), strict=True))
        self._best, self._waited = state["best"], state["waited"]
        self._weights = state["weights"]
