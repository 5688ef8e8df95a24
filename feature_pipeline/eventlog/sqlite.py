"""The embedded event log: one SQLite file, shared by the gateway and the stream worker."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from feature_pipeline.definition.records import KnownEvent, KnownMention
from feature_pipeline.eventlog.clock import Clock, from_micros, to_micros, utc_now
from feature_pipeline.eventlog.encoding import (
    FORMAT,
    decode_events,
    decode_roles,
    encode_event,
    encode_roles,
)
from feature_pipeline.eventlog.history_rows import label_rows, mention_rows
from feature_pipeline.eventlog.identity import settle_batch
from feature_pipeline.eventlog.port import (
    Entry,
    LogBatch,
    LogUnavailableError,
    Receipt,
    ahead,
    not_empty,
    other_format,
    other_partitions,
    routes,
    trimmed,
    unacknowledged,
)
from feature_pipeline.eventlog.sqlite_ledger import (
    LEDGER_SCHEMA,
    forget_all,
    recall,
    remember,
    remember_labels,
    remember_mentions,
)
from shared.events import Label, Mention
from shared.sqlite_file import open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (latest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS partitions (
    partition INTEGER PRIMARY KEY, last INTEGER NOT NULL, trimmed INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    partition INTEGER, position INTEGER, roles INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (partition, position)) WITHOUT ROWID;
"""
_APPEND_SECONDS = 10.0
"""A thread waits so long for the others at most, should the file hang."""


class SqliteEventLog:
    """Holds to the promises of ``EventLog``; safe to use from several threads and processes.

    A transaction that appends takes SQLite's write lock first, so known_at grows in commit order
    whoever appends, and it is on disk (``synchronous=FULL``) before a receipt is given.
    """

    def __init__(self, path: Path, partitions: int = 2, clock: Clock = utc_now) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection = open_sqlite(path, _SCHEMA + LEDGER_SCHEMA)
        self.partitions = partitions
        self._make_or_check()

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            latest, ledger = from_micros(_latest(cursor)), recall(cursor, events)
            receipts, recorded = settle_batch(ledger, events, latest, self._clock)
            remember(cursor, recorded)
            self._record(cursor, recorded)
        return receipts

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            (entries,) = cursor.execute("SELECT sum(last) FROM partitions").fetchone()
            if entries:
                raise not_empty(entries)
            forget_all(cursor)
            remember_mentions(cursor, mention_rows(mentions))
            remember_labels(cursor, label_rows(labels))
            cursor.execute("UPDATE clock SET latest = ?", (to_micros(watermark),))

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        now = to_micros(self._clock())
        with self._transaction() as cursor:
            cursor.execute("UPDATE clock SET latest = max(latest, ?)", (now,))

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        with self._transaction("DEFERRED") as cursor:
            last, gone, _ = _ends(cursor, partition)
            if after < gone:
                raise trimmed(partition, after, gone + 1)
            if after > last:
                raise ahead(partition, after, last)
            rows = cursor.execute(
                "SELECT position, roles, event FROM entries"
                " WHERE partition = ? AND position > ? ORDER BY position LIMIT ?",
                (partition, after, limit),
            ).fetchall()
            latest = from_micros(_latest(cursor))
        events = decode_events(text for _, _, text in rows)
        entries = tuple(
            Entry(partition, position, decode_roles(roles), event)
            for (position, roles, _), event in zip(rows, events, strict=True)
        )
        position = entries[-1].position if entries else after
        return LogBatch(
            partition=partition,
            entries=entries,
            position=position,
            watermark=latest if position == last else entries[-1].event.known_at,
        )

    def acknowledge(self, partition: int, position: int) -> None:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            last, _, _ = _ends(cursor, partition)
            if position > last:
                raise ahead(partition, position, last)
            cursor.execute(
                "UPDATE partitions SET acknowledged = max(acknowledged, ?) WHERE partition = ?",
                (position, partition),
            )

    def backlog(self) -> int:
        """See ``EventLog``."""
        with self._transaction("DEFERRED") as cursor:
            (waiting,) = cursor.execute(
                "SELECT sum(last - acknowledged) FROM partitions"
            ).fetchone()
        return int(waiting)

    def acknowledged(self, partition: int) -> range:
        """See ``EventLog``."""
        with self._transaction("DEFERRED") as cursor:
            _, gone, acknowledged = _ends(cursor, partition)
        return range(gone + 1, acknowledged + 1)

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            _, _, acknowledged = _ends(cursor, partition)
            if before - 1 > acknowledged:
                raise unacknowledged(partition, before, acknowledged)
            cursor.execute(
                "DELETE FROM entries WHERE partition = ? AND position < ?", (partition, before)
            )
            cursor.execute(
                "UPDATE partitions SET trimmed = max(trimmed, ?) WHERE partition = ?",
                (before - 1, partition),
            )

    def size(self) -> int:
        """See ``EventLog``."""
        with self._transaction("DEFERRED") as cursor:
            (size,) = cursor.execute("SELECT sum(last - trimmed) FROM partitions").fetchone()
        return int(size)

    def close(self) -> None:
        """See ``EventLog``."""
        with self._lock:
            self._connection.close()

    def _make_or_check(self) -> None:
        place = f"event log {self._path}"
        with self._transaction() as cursor:
            (found,) = cursor.execute("SELECT count(*) FROM partitions").fetchone()
            (written,) = cursor.execute("PRAGMA user_version").fetchone()
            if not found:
                cursor.execute(f"PRAGMA user_version = {FORMAT}")
                cursor.execute("INSERT INTO clock VALUES (0)")
                cursor.executemany(
                    "INSERT INTO partitions VALUES (?, 0, 0, 0)",
                    [(index,) for index in range(self.partitions)],
                )
            elif written != FORMAT:
                raise other_format(place, FORMAT, written)
            elif found != self.partitions:
                raise other_partitions(place, self.partitions, found)

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        if not self._lock.acquire(timeout=_APPEND_SECONDS):
            raise self._unavailable("others that wait for it")
        try:
            with closing(self._connection.cursor()) as cursor:
                try:
                    cursor.execute(f"BEGIN {mode}")
                    yield cursor
                    cursor.execute("COMMIT")
                except sqlite3.OperationalError as error:
                    raise self._unavailable(str(error)) from error
                finally:
                    if self._connection.in_transaction:
                        cursor.execute("ROLLBACK")
        finally:
            self._lock.release()

    def _unavailable(self, found: str) -> LogUnavailableError:
        return LogUnavailableError(
            f"event log {self._path}",
            expected="a file that can be read and written",
            found=found,
            remedy="See that its disk is there and not full.",
        )

    def _record(self, cursor: sqlite3.Cursor, events: Sequence[KnownEvent]) -> None:
        if not events:
            return
        lasts = dict(cursor.execute("SELECT partition, last FROM partitions").fetchall())
        rows = []
        for event in events:
            keys = event.mention if isinstance(event, KnownMention) else event
            text = encode_event(event)
            placed = routes(keys.subject_id, keys.source_id, self.partitions)
            for partition, roles in placed.items():
                lasts[partition] += 1
                rows.append((partition, lasts[partition], encode_roles(roles), text))
        cursor.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        cursor.executemany(
            "UPDATE partitions SET last = ? WHERE partition = ?",
            [(last, partition) for partition, last in lasts.items()],
        )
        cursor.execute("UPDATE clock SET latest = ?", (to_micros(events[-1].known_at),))


def _latest(cursor: sqlite3.Cursor) -> int:
    (latest,) = cursor.execute("SELECT latest FROM clock").fetchone()
    return int(latest)


def _ends(cursor: sqlite3.Cursor, partition: int) -> tuple[int, int, int]:
    """Return a partition's last position, the last one trimmed, and the last one acknowledged."""
    last, gone, acknowledged = cursor.execute(
        "SELECT last, trimmed, acknowledged FROM partitions WHERE partition = ?", (partition,)
    ).fetchone()
    return last, gone, acknowledged
