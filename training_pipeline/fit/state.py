"""The state of a fit: everything that a step changes, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from training_pipeline.fit.early_stopping import EarlyStopping
from training_pipeline.model import MentionClassifier


@dataclass
class FitState:
    """What a checkpoint holds.

    The order of the rows, the masks of dropout and the learning rates are not in it: they are
    functions of the step. Generators are, for encoders that draw by other ways than dropout.
    """

    model: MentionClassifier
    optimizer: torch.optim.AdamW
    stopping: EarlyStopping
    step: int = 0
    """Steps done."""
    losses: list[float] = field(default_factory=list)
    """Of each step's global batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as tensors and plain values, which can be read without unpickling."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stopping": self.stopping.state_dict(),
            "step": self.step,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stopping.load_state_dict(state["stopping"])
        self.step = state["step"]
        self.losses = state["losses"].tolist()
        torch.set_rng_state(state["generator"])
        if state["cuda_generator"] is not None:
            torch.cuda.set_rng_state(state["cuda_generator"])
