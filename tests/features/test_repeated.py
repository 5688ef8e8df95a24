"""What is done every few seconds tells truthfully whether it gets through."""

from __future__ import annotations

import threading
from collections.abc import Callable

from feature_pipeline.gateway.repeated import Repeated


class Steps(Repeated):
    """Acts when the test lets it."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        super().__init__("steps", seconds, monotonic)
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def act(self) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=20)


def test_alive_is_what_got_through_lately() -> None:
    """Before the first success it is not alive, nor when an attempt hangs; then it is again."""
    now = 0.0
    with Steps(0.001, lambda: now) as steps:
        assert steps.begun.acquire(timeout=20)
        assert not steps.alive
        steps.go_on.release()
        assert steps.begun.acquire(timeout=20)
        assert steps.alive
        now = 4.0
        assert steps.alive
        now = 60.0
        assert not steps.alive
        steps.go_on.release()
        assert steps.begun.acquire(timeout=20)
        assert steps.alive
        steps.go_on.release(100_000)
    assert not steps.alive
