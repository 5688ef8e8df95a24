"""The dead-letter table: every rejected row or item, whole, with the reason."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.sqlite_file import open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, raw BLOB NOT NULL,
    received_at TEXT NOT NULL);
"""


@dataclass(frozen=True)
class DeadLetter:
    """What was rejected: where it came from, why, and its bytes as they came."""

    origin: str
    reason: str
    raw: bytes
    received_at: datetime


class DeadLetters:
    """Rejected input in a SQLite file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = open_sqlite(path, _SCHEMA)

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected input; all of it or, on an error, none."""
        rows = [
            (
                letter.origin,
                letter.reason,
                letter.raw,
                letter.received_at.astimezone(UTC).isoformat(),
            )
            for letter in letters
        ]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                self._connection.executemany(
                    "INSERT INTO dead_letters (origin, reason, raw, received_at)"
                    " VALUES (?, ?, ?, ?)",
                    rows,
                )

    def forget(self, origin_prefix: str) -> None:
        """Drop what came from an origin, before the same file is read again."""
        with self._lock:
            self._connection.execute(
                "DELETE FROM dead_letters WHERE substr(origin, 1, ?) = ?",
                (len(origin_prefix), origin_prefix),
            )

    def read(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest letters, newest first."""
        with (
            self._lock,
            closing(
                self._connection.execute(
                    "SELECT origin, reason, raw, received_at FROM dead_letters"
                    " ORDER BY id DESC LIMIT ?",
                    (limit,),
                )
            ) as rows,
        ):
            return [
                DeadLetter(origin, reason, raw, datetime.fromisoformat(at))
                for origin, reason, raw, at in rows
            ]

    def count(self) -> int:
        """Return how many letters are kept."""
        with self._lock:
            (count,) = self._connection.execute("SELECT count(*) FROM dead_letters").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
