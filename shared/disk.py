"""The disk: files that are written whole or not at all, and errors of a disk that is full."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import FtiError, StateError, UnavailableError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PASSING = _NO_ROOM | {errno.EIO, errno.ESTALE}
"""A file server that is away is told by the last two."""
_REMEDY = "Make room and run the same command again."
_IN_WORDS = re.compile(r"\(os error (\d+)\)")
"""How libraries in Rust, such as Polars, tell an error of the system."""


@contextmanager
def disk_errors(place: str, *, remedy: str = _REMEDY) -> Iterator[None]:
    """Turn what the disk refuses into an error for people.

    Args:
        place: what was read or written.
        remedy: what to do when there is no room.

    Raises:
        StateError: the block raised an OSError, or what a library made of one.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FtiError) or (refused := _system_error(error)) is None:
            raise
        raise no_room(place, refused, remedy=remedy) from error


@contextmanager
def full_disk_errors(place: str) -> Iterator[None]:
    """Turn only a lack of room into an error for people; others go their way.

    Libraries wrap what the system said, so the causes of an error are looked at, too.

    Raises:
        StateError: there was no room.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FtiError) or (full := lack_of_room(error)) is None:
            raise
        raise no_room(place, full) from error


def lack_of_room(error: BaseException | None) -> OSError | None:
    """Return the error, or the one behind it, that tells of a full disk or a quota."""
    while error is not None:
        found = _system_error(error)
        if found is not None and found.errno in _NO_ROOM:
            return found
        error = error.__cause__ or error.__context__
    return None


def no_room(place: str, error: OSError, *, remedy: str = _REMEDY) -> StateError:
    """Return the error for people; the remedy is told where room is what lacks."""
    return (UnavailableError if error.errno in _PASSING else StateError)(
        place,
        expected="a disk that takes what is written",
        found=os.strerror(error.errno) if error.errno else type(error).__name__,
        remedy=remedy if error.errno in _NO_ROOM else "",
    )


def _system_error(error: BaseException) -> OSError | None:
    """Return the error of the system that an exception is, or that its text tells."""
    if isinstance(error, OSError) and error.errno:
        return error
    told = _IN_WORDS.search(str(error))
    if told is not None:
        number = int(told[1])
        return OSError(number, os.strerror(number))
    return error if isinstance(error, OSError) else None


def write_whole(path: Path, text: str) -> None:
    """Write a file beside, sync it and rename it: whatever happens, it is whole or not there.

    Raises:
        StateError: the disk does not take it.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    with disk_errors(f"file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def sync_tree(folder: Path, *, below: bool = True) -> None:
    """Make a folder, and all below it, last beyond a loss of power."""
    for path in folder.rglob("*") if below else ():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
