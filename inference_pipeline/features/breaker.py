"""A circuit breaker: what fails again and again is left alone for a while. Pure but for a clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after some failures in a row; later one trial decides whether it closes again.

    Ask `allows` before each call, and tell `succeeded` or `failed` after it.
    """

    def __init__(self, *, failures: int, open_for: timedelta, clock: Callable[[], float]) -> None:
        """Begin closed.

        Args:
            failures: in a row, after which it opens.
            open_for: how long it stays open before a trial.
            clock: seconds that only ever grow.
        """
        self._failures = failures
        self._open_for = open_for.total_seconds()
        self._clock = clock
        self._in_a_row = 0
        self._opened_at = 0.0
        self.state: State = "closed"

    def allows(self) -> bool:
        """Tell whether to call. While half-open, only the one that is told so first may."""
        if self.state == "closed":
            return True
        if self.state == "open" and self._clock() - self._opened_at >= self._open_for:
            self.state = "half-open"
            return True
        return False

    def succeeded(self) -> None:
        """Note a call that went well."""
        self._in_a_row = 0
        self.state = "closed"

    def failed(self) -> None:
        """Note a call that failed, or took too long."""
        self._in_a_row += 1
        if self.state == "half-open" or self._in_a_row >= self._failures:
            self.state = "open"
            self._opened_at = self._clock()
