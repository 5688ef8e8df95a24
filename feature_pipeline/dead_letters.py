"""The dead-letter table: every rejected row or item, whole, with the reason."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.errors import StateError
from shared.sqlite_file import open_sqlite

DEFAULT_MAX_BYTES = 1_000_000_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, raw BLOB NOT NULL,
    received_at TEXT NOT NULL);
"""
_MATCHES = """
    substr(origin, 1, length(:origin)) = :origin AND instr(reason, :reason)
    AND received_at >= :since AND received_at < :before AND (:id IS NULL OR id = :id)
"""


class DeadLettersFullError(StateError):
    """There is no room for more dead letters. None is dropped to make room."""


@dataclass(frozen=True)
class DeadLetter:
    """What was rejected: where it came from, why, and its bytes as they came."""

    origin: str
    reason: str
    raw: bytes
    received_at: datetime


@dataclass(frozen=True)
class KeptLetter(DeadLetter):
    """A dead letter in the table."""

    id: int


@dataclass(frozen=True)
class Selection:
    """Which letters are meant; by default all.

    Attributes:
        id: of one letter.
        origin: how the origin begins, such as ``POST /v1/labels`` or a file's name.
        reason: what the reason contains.
        since: received at this moment or after it.
        before: received before this moment.
    """

    id: int | None = None
    origin: str = ""
    reason: str = ""
    since: datetime | None = None
    before: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """Return what SQL is given for them."""
        return {
            "id": self.id,
            "origin": self.origin,
            "reason": self.reason,
            "since": _told(self.since) if self.since else "",
            "before": _told(self.before) if self.before else "9",
        }


ALL = Selection()


class DeadLetters:
    """Rejected input in a SQLite file. Safe to use from several threads and processes."""

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Open the table.

        Args:
            path: of its file.
            max_bytes: that the letters may take on the disk.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection = open_sqlite(path, _SCHEMA)

    @property
    def used_bytes(self) -> int:
        """What the letters take on the disk; what was deleted is room again."""
        with self._lock:
            return self._used_bytes()

    def has_room(self, letters: Sequence[DeadLetter]) -> bool:
        """Tell whether letters could be added now; others may take the room meanwhile."""
        with self._lock:
            return self._has_room(letters)

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected input; all of it or, on an error, none.

        Raises:
            DeadLettersFullError: there is no room for it.
        """
        with self._lock, _told_as_full(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                if not self._has_room(letters):
                    raise DeadLettersFullError(
                        str(self._path),
                        expected=f"room for {_size(letters)} bytes,"
                        f" at most {self._max_bytes} in all",
                        found=f"{self._used_bytes()} in use",
                        remedy="`python -m feature_pipeline dead-letters` replays or purges"
                        " letters; FTI_FEATURES_DEAD_LETTER_BYTES allows more.",
                    )
                self._insert(letters)

    def replace(self, letter: KeptLetter, by: Sequence[DeadLetter]) -> None:
        """Put letters in the place of one, in one transaction; by none: delete it.

        The first of them gets its id. There is always room: they are parts of it.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                self._connection.execute("DELETE FROM dead_letters WHERE id = ?", (letter.id,))
                self._insert(by, letter.id)

    def forget(self, origin_prefix: str) -> None:
        """Drop what came from an origin, before the same file is read again."""
        self.purge(Selection(origin=origin_prefix))

    def purge(self, which: Selection) -> int:
        """Drop letters; return how many."""
        with self._lock:
            deleted = self._connection.execute(
                f"DELETE FROM dead_letters WHERE {_MATCHES}",  # noqa: S608 - a constant
                which.parameters(),
            )
        return deleted.rowcount

    def read(self, limit: int = 100, which: Selection = ALL) -> list[KeptLetter]:
        """Return the newest letters, newest first."""
        return self._select("ORDER BY id DESC LIMIT :limit", which, limit=limit)

    def read_after(self, last_id: int, limit: int, which: Selection = ALL) -> list[KeptLetter]:
        """Return the letters that follow one, oldest first."""
        return self._select(
            "AND id > :last_id ORDER BY id LIMIT :limit", which, last_id=last_id, limit=limit
        )

    def count(self, which: Selection = ALL) -> int:
        """Return how many letters are kept."""
        with self._lock:
            (count,) = self._connection.execute(
                f"SELECT count(*) FROM dead_letters WHERE {_MATCHES}",  # noqa: S608 - a constant
                which.parameters(),
            ).fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _insert(self, letters: Sequence[DeadLetter], first_id: int | None = None) -> None:
        self._connection.executemany(
            "INSERT INTO dead_letters (id, origin, reason, raw, received_at)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (
                    None if index else first_id,
                    letter.origin,
                    letter.reason,
                    letter.raw,
                    _told(letter.received_at),
                )
                for index, letter in enumerate(letters)
            ],
        )

    def _select(self, rest: str, which: Selection, **parameters: int) -> list[KeptLetter]:
        query = (
            "SELECT origin, reason, raw, received_at, id FROM dead_letters"  # noqa: S608 - constants
            f" WHERE {_MATCHES} {rest}"
        )
        with (
            self._lock,
            closing(self._connection.execute(query, which.parameters() | parameters)) as rows,
        ):
            return [
                KeptLetter(origin, reason, raw, datetime.fromisoformat(at), letter_id)
                for origin, reason, raw, at, letter_id in rows
            ]

    def _has_room(self, letters: Sequence[DeadLetter]) -> bool:
        return not letters or self._used_bytes() + _size(letters) <= self._max_bytes

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


@contextmanager
def _told_as_full(path: Path) -> Iterator[None]:
    """Tell of a disk that takes no more as of a table that does not."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DeadLettersFullError(
            str(path), expected="room on the disk", found=str(error)
        ) from error


def _size(letters: Sequence[DeadLetter]) -> int:
    return sum(len(letter.raw) + len(letter.reason) for letter in letters)


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
