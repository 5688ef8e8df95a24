"""Counting who holds a version, so that it is closed when the last of them lets go, not before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inference_pipeline.versions.model import LoadedModel


class Holder:
    """A loaded version and the number of its leases."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False

    def take(self) -> bool:
        """Take a lease, to be given back. False: the version is retired, and a newer one there."""
        with self._lock:
            if self._retired:
                return False
            self._leases += 1
            return True

    def give_back(self) -> None:
        """End a lease."""
        with self._lock:
            self._leases -= 1
            last = self._retired and self._leases == 0
        if last:
            self.model.close()

    def retire(self) -> None:
        """Let nobody take the version any more, and close it when nobody holds it."""
        with self._lock:
            idle = not self._retired and self._leases == 0
            self._retired = True
        if idle:
            self.model.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give back, at the end, the lease that was taken."""
        try:
            yield
        finally:
            self.give_back()
