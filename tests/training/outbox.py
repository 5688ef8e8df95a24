"""A delivery that keeps what it is given, for tests; it can be away."""

from __future__ import annotations

from shared.errors import StateError
from training_pipeline.service.runs.run import Run


class Outbox:
    """Notes which runs were sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    def send(self, run: Run) -> None:
        """Note a run."""
        self.check()
        self.sent.append(run.run_id)

    def check(self) -> None:
        """Raise StateError if it is away."""
        if self.away:
            raise StateError("broker", expected="one that answers", found="none")
