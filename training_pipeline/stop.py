"""The wish to stop: signals, which a fit hears at the end of a step, and a registration not."""

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
        """Whether a signal came, be it before what may act upon it."""
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
        self._obey()

    def complete(self) -> None:
        """Note signals from now on: what begins now is done, and all that the process does then.

        Raises:
            KeyboardInterrupt: a signal came before, whose interrupt was lost.
        """
        self._obey()
        self._deferred = True

    def _obey(self) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def _hear(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's
        interrupts = not self._deferred or self.asked
        # Python drops what is raised while it calls back, as from a destructor or a library's C.
        self.asked = True
        if interrupts:
            raise KeyboardInterrupt
