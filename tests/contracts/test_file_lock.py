"""A file is held by one, or shared by several, on local disks and on network volumes."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import IO

import pytest

from shared.errors import StateError, UnavailableError
from shared.file_lock import hold_file

local_flock = fcntl.flock


def nfs_flock(file: IO[str], operation: int) -> None:
    """Lock as Linux' NFS 4 client does, which asks for more than local file systems do."""
    mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
    if operation & fcntl.LOCK_SH and mode == os.O_WRONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if operation & fcntl.LOCK_EX and mode == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    local_flock(file, operation)


@pytest.mark.parametrize("flock", [local_flock, nfs_flock], ids=["local", "nfs"])
def test_shared_or_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: object) -> None:
    """Those who share a file keep out who wants it alone, and the other way round."""
    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "home" / "lock"
    with (
        hold_file(path, place="home", remedy="Wait.", shared=True),
        hold_file(path, place="home", remedy="Wait.", shared=True),
        pytest.raises(StateError, match="home: expected nobody else using it"),
        hold_file(path, place="home", remedy="Wait."),
    ):
        pass
    with (
        hold_file(path, place="home", remedy="Wait."),
        pytest.raises(StateError, match=r"Wait\."),
        hold_file(path, place="home", remedy="Wait.", shared=True),
    ):
        pass


def test_a_holder_is_waited_for(tmp_path: Path) -> None:
    """Until it lets go, or for so long; whoever waits is told, and by whom it is held."""
    path, begun = tmp_path / "lock", threading.Event()
    with (
        hold_file(path, place="home", remedy="Wait."),
        pytest.raises(UnavailableError, match=f"a process that does, process {os.getpid()} on "),
        hold_file(path, place="home", remedy="Wait.", wait=0.2, waits=begun.set),
    ):
        pass
    assert begun.is_set()

    def hold() -> None:
        with hold_file(path, place="home", remedy="Wait."):
            begun.set()
            assert waiting.wait(20)

    begun.clear()
    waiting = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    assert begun.wait(20)
    with hold_file(path, place="home", remedy="Wait.", wait=20, waits=waiting.set):
        pass
    holder.join()


def test_volume_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system has no locks, the error says that it needs them."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(StateError, match="expected a volume that offers file locks"),
        hold_file(tmp_path / "lock", place="home", remedy="Wait."),
    ):
        pass
