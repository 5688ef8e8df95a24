"""A SQLite file as several threads and processes share it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shared.errors import StateError

_BUSY_SECONDS = 30.0


def open_sqlite(path: Path, schema: str) -> sqlite3.Connection:
    """Open or make a SQLite file in write-ahead mode, with transactions begun by hand.

    Args:
        path: the file; its folder is made.
        schema: statements that make what is missing.

    Raises:
        StateError: the file is no SQLite database, or a damaged one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(schema)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StateError(
            str(path),
            expected="a sound SQLite database",
            found=str(error),
            remedy="Put a backup in its place.",
        ) from error
    return connection
