"""The port by which workers are told of runs."""

from __future__ import annotations

from typing import Protocol

from training_pipeline.service.runs.run import Run


class Delivery(Protocol):
    """Sends messages. They may be lost or come twice: the run store is what counts."""

    def send(self, run: Run) -> None:
        """Tell the workers of the run's queue to look at it; StateError: the broker is away."""

    def check(self) -> None:
        """Raise StateError if the broker is away."""
