"""The wish to stop: signals, which a fit hears at the end of a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Notes SIGTERM and Ctrl-C while something must not be cut short; otherwise they interrupt.

    A second signal interrupts at once, even then.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether a signal came while it was deferred."""
        self._deferred = False

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT; for the main thread."""
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, self._hear)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals for as long as the context lasts.

        Raises:
            KeyboardInterrupt: at its end, if a signal came that nobody acted upon.
        """
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.asked:
            raise KeyboardInterrupt

    def _hear(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's
        if not self._deferred or self.asked:
            raise KeyboardInterrupt
        self.asked = True
