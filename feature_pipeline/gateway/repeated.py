"""Something that is done every few seconds, as long as the gateway runs."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from shared.logs import get_logger

_log = get_logger(__name__)

_PATIENT_INTERVALS = 3
_LEAST_PATIENCE = 5.0
"""Seconds: a thread that acts often may be held up for a moment."""


class Repeated(ABC):
    """A thread that acts while the context lasts; ``alive`` tells whether it gets through."""

    def __init__(
        self, name: str, seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._done_at: float | None = None
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def act(self) -> None:
        """Do it once."""

    @property
    def alive(self) -> bool:
        """Whether it was done the last time, and that is not long ago: it does not hang."""
        if self._failed or self._done_at is None or not self._thread.is_alive():
            return False
        patience = max(_LEAST_PATIENCE, _PATIENT_INTERVALS * self._seconds)
        return self._monotonic() - self._done_at <= patience

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.act()
                self._done_at = self._monotonic()
                self._failed = False
            except Exception:  # noqa: BLE001 - the thread must live on; readiness tells of it
                if not self._failed:  # once is enough to be told of an outage
                    _log.exception("failed, and is tried again", what=self._thread.name)
                self._failed = True
            self._stop.wait(self._seconds)
