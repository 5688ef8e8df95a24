"""A file that one process holds alone, or several share; the system lets go when they end."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StateError


@contextmanager
def hold_file(
    path: Path, *, place: str, remedy: str, shared: bool = False, wait: bool = False
) -> Iterator[None]:
    """Hold a file while the context lasts.

    Args:
        path: the file, made if it is missing.
        place: what it stands for, in words.
        remedy: what to do when it is held.
        shared: let others hold it, too, who share it.
        wait: wait for whoever holds it.

    Raises:
        StateError: another process holds it, or its file system has no locks; the error names
            the place and the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # To read and write: NFS shares a lock only with readers, and gives one alone only to writers.
    with path.open("a+") as lock:
        try:
            how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(lock, how if wait else how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                place, expected="nobody else using it", found="a process that does", remedy=remedy
            ) from None
        except OSError as error:
            raise StateError(
                f"{place}, {path}",
                expected="a volume that offers file locks",
                found=str(error),
                remedy="Put it on a local disk, NFS 4, CephFS or EFS.",
            ) from error
        yield
