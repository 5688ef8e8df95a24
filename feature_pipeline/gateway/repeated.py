"""Something that is done every few seconds, as long as the gateway runs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

from shared.logs import get_logger

_log = get_logger(__name__)


class Repeated(ABC):
    """A thread that acts while the context lasts; ``alive`` tells whether it gets through."""

    def __init__(self, name: str, seconds: float) -> None:
        self._seconds = seconds
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def act(self) -> None:
        """Do it once."""

    @property
    def alive(self) -> bool:
        """Whether it was done the last time."""
        return self._thread.is_alive() and not self._failed

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
                self._failed = False
            except Exception:  # noqa: BLE001 - the thread must live on; readiness tells of it
                if not self._failed:  # once is enough to be told of an outage
                    _log.exception("failed, and is tried again", what=self._thread.name)
                self._failed = True
            self._stop.wait(self._seconds)
