"""A file that one process holds alone, or several share; the system lets go when they end."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shared.errors import StateError, UnavailableError
from shared.logs import get_logger

_log = get_logger(__name__)

_LOOK_SECONDS = 0.1
_LONGEST_NAME = 300


@contextmanager
def hold_file(
    path: Path,
    *,
    place: str,
    remedy: str,
    shared: bool = False,
    wait: float = 0.0,
    waits: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold a file while the context lasts.

    Args:
        path: the file, made if it is missing; it names the process that holds it alone.
        place: what it stands for, in words.
        remedy: what to do when it is held.
        shared: let others hold it, too, who share it.
        wait: seconds to wait for whoever holds it.
        waits: hears when that begins.

    Raises:
        UnavailableError: whoever holds it was waited for in vain.
        StateError: another process holds it, or its file system has no locks; the error names
            the place and the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # To read and write: NFS shares a lock only with readers, and gives one alone only to writers.
    with path.open("a+", encoding="utf-8", errors="replace") as lock:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline, waiting = time.monotonic() + wait, False
        while not _locked(lock, how, place):
            if time.monotonic() >= deadline:
                raise (UnavailableError if wait else StateError)(
                    place,
                    expected="nobody else using it",
                    found=", ".join(filter(None, ("a process that does", _holder(lock)))),
                    remedy=remedy,
                )
            if not waiting:
                waiting = True
                _log.info("waits for a process", place=place, process=_holder(lock))
                waits()
            time.sleep(_LOOK_SECONDS)
        _sign(lock, "" if shared else f"process {os.getpid()} on {socket.gethostname()}")
        yield


def _locked(lock: IO[str], how: int, place: str) -> bool:
    """Lock the file unless another process has it; to ask so can be given up, to block not."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StateError(
            f"{place}, {lock.name}",
            expected="a volume that offers file locks",
            found=str(error),
            remedy="Put it on a local disk, NFS 4, CephFS or EFS.",
        ) from error
    return True


def _sign(lock: IO[str], name: str) -> None:
    """Write down who holds the file; those who share it leave it empty."""
    try:
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), name.encode())  # unbuffered, or closing the file would try again
    except OSError as error:  # such as of a full disk, which is no reason not to hold it
        _log.debug("lock not signed", path=lock.name, error=str(error))


def _holder(lock: IO[str]) -> str:
    """Return who wrote down last that it holds the file alone."""
    lock.seek(0)
    return lock.read(_LONGEST_NAME)
