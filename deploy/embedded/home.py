"""FTI_HOME as a folder that one embedded system at a time runs in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StateError


@contextmanager
def hold_home(home: Path) -> Iterator[Path]:
    """Keep others from running in a home while the context lasts.

    Raises:
        StateError: somebody does already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "in-use.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                f"FTI_HOME {home}",
                expected="a home that nobody uses",
                found="one in which services or a demo run",
                remedy="Stop them, or set FTI_HOME to another folder.",
            ) from None
        yield home
