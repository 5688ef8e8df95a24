"""Trials: what was tried and what came of it, in the words of this system."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training_pipeline.evaluation.scores import score
from training_pipeline.fit.validation import Validated

Value = int | float | str
Parameters = Mapping[str, Value]
"""Fields of the training section by name."""
Outcome = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Measured:
    """How good a model is on the rows held back for validation."""

    loss: float
    """Mean cross entropy in nats."""
    accuracy: float
    macro_f1: float

    def value(self, objective: str) -> float:
        """Return what the search goes by: the field that is named so."""
        return {"loss": self.loss, "accuracy": self.accuracy, "macro_f1": self.macro_f1}[objective]

    @property
    def finite(self) -> bool:
        """Whether there is a loss at all: weights may have left all numbers."""
        return math.isfinite(self.loss)


def measure(validated: Validated, labels: list[str]) -> Measured:
    """Return how good answers are.

    Args:
        validated: the answers, and what is true.
        labels: the task's.
    """
    scores = score(np.argmax(validated.logits, axis=1), validated.labels, labels)
    return Measured(validated.loss, scores.accuracy, scores.macro_f1)


@dataclass(frozen=True)
class Trial:
    """A trial that has ended."""

    number: int
    """Counted from 0."""
    parameters: Parameters
    outcome: Outcome
    value: float | None
    """What the search goes by; None where it failed."""
    reason: str = ""
    """Why it failed."""


def best_of(trials: list[Trial], *, greatest: bool) -> Trial | None:
    """Return the best complete trial, of equals the first; None if none is complete.

    >>> def complete(number, value):
    ...     return Trial(number, {}, "complete", value)
    >>> best_of([complete(0, 0.5), complete(1, 0.3), complete(2, 0.3)], greatest=False).number
    1
    """
    complete = [trial for trial in trials if trial.outcome == "complete"]
    sign = -1 if greatest else 1
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)


def as_toml(parameters: Parameters) -> str:
    """Return parameters as a fragment of a task file.

    >>> print(as_toml({"epochs": 2, "encoder_learning_rate": 8.5e-05, "class_weights": "none"}))
    [training]
    epochs = 2
    encoder_learning_rate = 8.5e-05
    class_weights = "none"
    """
    lines = [
        f"{name} = {json.dumps(value) if isinstance(value, str) else repr(value)}"
        for name, value in parameters.items()
    ]
    return "\n".join(["[training]", *lines])
