"""Stopping threads that write, before the one that started them lets go of its locks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """What a thread raises that was told to stop; another error says why."""


class Stop:
    """Tells threads to stop at their next part.

    No ``threading.Event``: setting one takes a lock, which a signal that comes while the handler
    of another runs would wait for for ever.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Tell all to stop."""
        self._asked = True

    def check(self) -> None:
        """Go on, unless told to stop.

        Raises:
            StoppedError: told to stop.
        """
        if self._asked:
            raise StoppedError


@contextmanager
def held_interrupts(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C, however often it comes, only ask to stop while the context lasts.

    What it does otherwise, it does when the context ends. An exception amid the waiting for
    threads would leave them behind: Python 3.11 takes a thread for ended when the wait for it is
    interrupted.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # Ctrl-C reaches the main thread only, or is ignored
        return
    interrupted = False

    def ask(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        stop.ask()

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            signal.raise_signal(signal.SIGINT)
