"""FTI_HOME as a folder that one embedded system at a time runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.file_lock import hold_file

LOCK_FILE = "in-use.lock"


@contextmanager
def hold_home(home: Path) -> Iterator[Path]:
    """Keep others from running in a home while the context lasts.

    Raises:
        StateError: somebody does already.
    """
    remedy = "Stop the services or the demo there, or set FTI_HOME to another folder."
    with hold_file(home / LOCK_FILE, place=f"FTI_HOME {home}", remedy=remedy):
        yield home
