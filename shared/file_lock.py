"""A file that one process at a time may hold. The system lets go when the process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StateError


@contextmanager
def hold_file(path: Path, *, place: str, remedy: str) -> Iterator[None]:
    """Hold a file while the context lasts.

    Raises:
        StateError: another process holds it; the error names the place and the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                place, expected="nobody else using it", found="a process that does", remedy=remedy
            ) from None
        yield
