"""Rows on their way to the feature store, as numbered Arrow files that a restart finds again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from pyarrow import ipc

from shared.errors import StateError
from shared.file_lock import hold_file
from shared.logs import get_logger

log = get_logger(__name__)

_WAITING = ".arrow"
_DONE = ".done"
_DAMAGED = ".damaged"


class Spool:
    """A folder of batches, each whole or not there. Used by one thread.

    Batches count up for ever, over restarts too: the feature store remembers, under the spool's id,
    the number of the last one that it took, and so tells what was taken from what was not.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self.id = self._read_or_make_id()
        self._rows = {number: _rows_of(self._path(number)) for number in self._numbers(_WAITING)}
        self._last = max((*self._rows, *self._numbers(_DONE), *self._numbers(_DAMAGED)), default=0)

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return sum(self._rows.values())

    def add(self, rows: pa.Table) -> None:
        """Keep a batch, on the disk when this returns.

        Raises:
            OSError: the disk does not take it.
        """
        number = self._last + 1
        unfinished = self._path(number).with_suffix(".tmp")
        with unfinished.open("wb") as file:
            with ipc.new_file(file, self._schema) as writer:
                writer.write_table(rows)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path(number))
        self._last = number
        self._rows[number] = rows.num_rows

    def take(self, max_rows: int) -> tuple[pa.Table, int] | None:
        """Return the oldest batches as one table, with the number of the last; None if none waits.

        They stay until `forget` is told. A file that holds no rows of the schema is put aside.
        """
        taken: list[pa.Table] = []
        last = 0
        for number in sorted(self._rows):
            try:
                rows = _read(self._path(number), self._schema)
            except (pa.ArrowInvalid, OSError) as error:
                log.error(  # noqa: TRY400 - the reason says more than a traceback
                    "spooled_batch_put_aside", batch=number, reason=repr(error)[:500]
                )
                self._path(number).rename(self._path(number, _DAMAGED))
                del self._rows[number]
                continue
            if taken and sum(table.num_rows for table in taken) + rows.num_rows > max_rows:
                break
            taken.append(rows)
            last = number
        return (pa.concat_tables(taken), last) if taken else None

    def forget(self, last: int) -> None:
        """Delete the batches up to a number; what is left of the last one keeps the count."""
        for number in sorted(self._rows):
            if number <= last:
                path = self._path(number)
                os.truncate(path, 0)
                path.rename(self._path(number, _DONE))
                del self._rows[number]
        for number in sorted(self._numbers(_DONE))[:-1]:
            self._path(number, _DONE).unlink()

    def _read_or_make_id(self) -> str:
        path = self._folder / "id"
        if not path.exists():
            unfinished = path.with_suffix(".tmp")
            unfinished.write_text(uuid4().hex)
            unfinished.replace(path)
        return path.read_text()

    def _path(self, number: int, suffix: str = _WAITING) -> Path:
        return self._folder / f"{number:012d}{suffix}"

    def _numbers(self, suffix: str) -> list[int]:
        return [int(path.stem) for path in self._folder.glob(f"*{suffix}")]


@contextmanager
def open_spool(parent: Path, schema: pa.Schema) -> Iterator[Spool]:
    """Hold a spool below a folder while the context lasts: the first that no other process holds.

    Processes of one home thus have one each, and the next process goes on with what one left.
    """
    with ExitStack() as held:
        for slot in count():
            folder = parent / str(slot)
            try:
                held.enter_context(
                    hold_file(folder / "lock", place=f"spool {folder}", remedy="Take another.")
                )
            except StateError:
                continue
            break
        yield Spool(folder, schema)


def _rows_of(path: Path) -> int:
    """Return how many rows a file holds; 0 if that cannot be told, which `take` finds out."""
    try:
        return int(ipc.open_file(pa.BufferReader(path.read_bytes())).read_all().num_rows)
    except (pa.ArrowInvalid, OSError):
        return 0


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    rows = ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    if not rows.schema.equals(schema):
        raise pa.ArrowInvalid("columns of another version of this software")
    return rows
