"""Feast's online store in an SQLite file: a table for each view, a row for each feature."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from inference_pipeline.features.online_tables import Latest, Wanted, number

_PATIENCE_SECONDS = 5.0
"""For a writer that is committing."""


class SqliteTables:
    """Asks for everything in one statement that yields one string.

    Python's driver gives up the interpreter's lock at every row that it fetches, and has to wait
    for it again: among busy threads, that costs more than the read.
    """

    def __init__(self, path: Path, project: str) -> None:
        """Open nothing yet.

        Args:
            path: the file, there by the first read.
            project: of the feature store.
        """
        self._path = path
        self._project = project
        self._patient: sqlite3.Connection | None = None
        self._impatient: sqlite3.Connection | None = None

    def latest(self, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]]:
        """See `OnlineTables`."""
        if self._patient is None:
            self._patient = self._connect(seconds=_PATIENCE_SECONDS)
        return self._read(self._patient, wanted)

    def latest_now(self, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]] | None:
        """See `OnlineTables`. Who is waited for otherwise is a writer that is committing."""
        if self._impatient is None:
            self._impatient = self._connect(seconds=0)
        try:
            return self._read(self._impatient, wanted)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise

    def _read(
        self, connection: sqlite3.Connection, wanted: Sequence[Wanted]
    ) -> list[dict[bytes, Latest]]:
        asked: list[tuple[str, int, int]] = []
        arguments: list[object] = []
        for view in wanted:
            keys = _padded(view.keys)
            asked.append((f"{self._project}_{view.view}", len(keys), len(view.features)))
            arguments += [*keys, *view.features]
        (text,) = connection.execute(_statement(tuple(asked)), arguments).fetchone()
        return _parsed(text or "", wanted)

    def _connect(self, seconds: float) -> sqlite3.Connection:
        # Not read-only: the journal of a writer that was killed has to be rolled back first.
        return sqlite3.connect(
            f"{self._path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=seconds,
            check_same_thread=False,
        )


def _padded(keys: Sequence[bytes]) -> list[bytes]:
    """Return the keys, the last repeated up to a power of two: few statements stay prepared."""
    missing = (1 << (len(keys) - 1).bit_length()) - len(keys)
    return [*keys, *[keys[-1]] * missing]


@lru_cache(1_024)
def _statement(asked: tuple[tuple[str, int, int], ...]) -> str:
    """Return the question for a number of keys and of features in some tables.

    Its answer has a line for each entity of a table: the table's index, the entity's key, the
    second at which the row was known, and names and values of features; what is not ours in hex.
    """
    lines = []
    for index, (table, keys, features) in enumerate(asked):
        quoted = table.replace('"', '""')
        lines.append(
            f"SELECT {index} || ' ' || hex(entity_key) || ' ' || max(event_ts) || ' ' ||"  # noqa: S608 - the name is quoted
            " group_concat(hex(feature_name) || ' ' || hex(value), ' ') AS line"
            f' FROM "{quoted}" WHERE entity_key IN ({_marks(keys)})'
            f" AND feature_name IN ({_marks(features)}) GROUP BY entity_key"
        )
    return f"SELECT group_concat(line, char(10)) FROM ({' UNION ALL '.join(lines)})"  # noqa: S608 - made above


def _marks(count: int) -> str:
    return ",".join("?" * count)


def _parsed(text: str, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]]:
    names = [_hexed(tuple(view.features)) for view in wanted]
    found: list[dict[bytes, Latest]] = [{} for _ in wanted]
    for line in text.split("\n") if text else ():
        index, key, second, *pairs = line.split(" ")
        stored = dict(zip(pairs[::2], pairs[1::2], strict=True))
        found[int(index)][bytes.fromhex(key)] = Latest(
            known_at=datetime.fromtimestamp(int(second), UTC),
            # A value that is not there is a null, as an empty one is.
            values=[_number(stored.get(name, "")) for name in names[int(index)]],
        )
    return found


@lru_cache(256)
def _hexed(features: tuple[str, ...]) -> list[str]:
    return [feature.encode().hex().upper() for feature in features]


@lru_cache(65_536)
def _number(stored: str) -> float:
    return number(bytes.fromhex(stored))
