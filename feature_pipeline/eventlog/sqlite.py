"""The embedded event log: one SQLite file, shared by the gateway and the stream worker."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.clock import Clock, from_micros, to_micros, utc_now
from feature_pipeline.eventlog.identity import settle
from feature_pipeline.eventlog.port import Entry, LogBatch, Receipt, not_empty, routes, trimmed
from shared.errors import StateError
from shared.events import Label, Mention
from shared.features import Role
from shared.sqlite_file import open_sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (latest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS partitions (
    partition INTEGER PRIMARY KEY, last INTEGER NOT NULL, trimmed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    partition INTEGER, position INTEGER, known_at INTEGER NOT NULL, roles TEXT NOT NULL,
    event TEXT NOT NULL, PRIMARY KEY (partition, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mentions (
    mention_id TEXT PRIMARY KEY, subject_id TEXT NOT NULL, source_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    mention_id TEXT PRIMARY KEY, label TEXT NOT NULL, known_at INTEGER NOT NULL) WITHOUT ROWID;
"""


class SqliteEventLog:
    """Holds to the promises of ``EventLog``; safe to use from several threads and processes.

    A transaction that appends takes SQLite's write lock first, so known_at grows in commit order
    whoever appends, and it is on disk (``synchronous=FULL``) before a receipt is given.
    """

    def __init__(self, path: Path, partitions: int = 2, clock: Clock = utc_now) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection = open_sqlite(path, _SCHEMA)
        self.partitions = self._fix_partitions(partitions)

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        receipts = []
        with self._transaction() as cursor:
            latest = _latest(cursor)
            for event in events:
                moment = max(to_micros(self._clock()), latest + 1)
                receipt, known = settle(_SqlLedger(cursor), event, from_micros(moment))
                if known is not None:
                    latest = moment
                    _remember(cursor, [known])
                    self._record(cursor, known)
                receipts.append(receipt)
            cursor.execute("UPDATE clock SET latest = ?", (latest,))
        return receipts

    def begin_after(
        self, watermark: datetime, mentions: Sequence[KnownMention], labels: Sequence[KnownLabel]
    ) -> None:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            (entries,) = cursor.execute("SELECT sum(last) FROM partitions").fetchone()
            if entries:
                raise not_empty(entries)
            cursor.execute("DELETE FROM mentions")
            cursor.execute("DELETE FROM labels")
            _remember(cursor, (*mentions, *labels))
            cursor.execute("UPDATE clock SET latest = ?", (to_micros(watermark),))

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        now = to_micros(self._clock())
        with self._transaction() as cursor:
            cursor.execute("UPDATE clock SET latest = max(latest, ?)", (now,))

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        with self._transaction("DEFERRED") as cursor:
            (gone,) = cursor.execute(
                "SELECT trimmed FROM partitions WHERE partition = ?", (partition,)
            ).fetchone()
            if after < gone:
                raise trimmed(partition, after, gone + 1)
            rows = cursor.execute(
                "SELECT position, known_at, roles, event FROM entries"
                " WHERE partition = ? AND position > ? ORDER BY position LIMIT ?",
                (partition, after, limit + 1),
            ).fetchall()
            latest = from_micros(_latest(cursor))
        entries = tuple(
            Entry(partition, position, _read_roles(roles), _read_event(event, known_at))
            for position, known_at, roles, event in rows[:limit]
        )
        return LogBatch(
            partition=partition,
            entries=entries,
            position=entries[-1].position if entries else after,
            watermark=latest if len(rows) <= limit else entries[-1].event.known_at,
        )

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        with self._transaction() as cursor:
            cursor.execute(
                "DELETE FROM entries WHERE partition = ? AND position < ?", (partition, before)
            )
            cursor.execute(
                "UPDATE partitions SET trimmed = max(trimmed, min(last, ?)) WHERE partition = ?",
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

    def _fix_partitions(self, wanted: int) -> int:
        with self._transaction() as cursor:
            (found,) = cursor.execute("SELECT count(*) FROM partitions").fetchone()
            if not found:
                cursor.execute("INSERT INTO clock VALUES (0)")
                cursor.executemany(
                    "INSERT INTO partitions VALUES (?, 0, 0)", [(index,) for index in range(wanted)]
                )
            elif found != wanted:
                raise StateError(
                    f"event log {self._path}",
                    expected=f"{wanted} partitions",
                    found=f"{found}",
                    remedy="The number is fixed when a log is made; set it back.",
                )
        return wanted

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute(f"BEGIN {mode}")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            else:
                cursor.execute("COMMIT")
            finally:
                cursor.close()

    def _record(self, cursor: sqlite3.Cursor, event: KnownEvent) -> None:
        keys = event.mention if isinstance(event, KnownMention) else event
        for partition, roles in routes(keys.subject_id, keys.source_id, self.partitions).items():
            (position,) = cursor.execute(
                "UPDATE partitions SET last = last + 1 WHERE partition = ? RETURNING last",
                (partition,),
            ).fetchone()
            cursor.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                (
                    partition,
                    position,
                    to_micros(event.known_at),
                    ",".join(sorted(roles)),
                    _write_event(event),
                ),
            )


class _SqlLedger:
    """The log's memory of events, inside a transaction."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def keys_of(self, mention_id: str) -> tuple[str, str] | None:
        row = self._cursor.execute(
            "SELECT subject_id, source_id FROM mentions WHERE mention_id = ?", (mention_id,)
        ).fetchone()
        return (row[0], row[1]) if row else None

    def label_of(self, mention_id: str) -> tuple[str, datetime] | None:
        row = self._cursor.execute(
            "SELECT label, known_at FROM labels WHERE mention_id = ?", (mention_id,)
        ).fetchone()
        return (row[0], from_micros(row[1])) if row else None


def _latest(cursor: sqlite3.Cursor) -> int:
    (latest,) = cursor.execute("SELECT latest FROM clock").fetchone()
    return int(latest)


def _remember(cursor: sqlite3.Cursor, events: Sequence[KnownEvent]) -> None:
    cursor.executemany(
        "INSERT INTO mentions VALUES (?, ?, ?)",
        [
            (event.mention.mention_id, event.mention.subject_id, event.mention.source_id)
            for event in events
            if isinstance(event, KnownMention)
        ],
    )
    cursor.executemany(
        "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)",
        [
            (event.label.mention_id, event.label.label, to_micros(event.known_at))
            for event in events
            if isinstance(event, KnownLabel)
        ],
    )


def _write_event(event: KnownEvent) -> str:
    if isinstance(event, KnownMention):
        return json.dumps({"mention": event.mention.model_dump(mode="json")})
    previous = event.previous_known_at
    return json.dumps(
        {
            "label": event.label.model_dump(mode="json"),
            "subject_id": event.subject_id,
            "source_id": event.source_id,
            "previous_label": event.previous_label,
            "previous_known_at": None if previous is None else to_micros(previous),
        }
    )


def _read_event(text: str, known_at: int) -> KnownEvent:
    fields = json.loads(text)
    if "mention" in fields:
        return KnownMention(Mention.model_validate(fields["mention"]), from_micros(known_at))
    previous = fields["previous_known_at"]
    return KnownLabel(
        label=Label.model_validate(fields["label"]),
        known_at=from_micros(known_at),
        subject_id=fields["subject_id"],
        source_id=fields["source_id"],
        previous_label=fields["previous_label"],
        previous_known_at=None if previous is None else from_micros(previous),
    )


def _read_roles(text: str) -> frozenset[Role]:
    roles: tuple[Role, ...] = ("subject", "source")
    return frozenset(role for role in roles if role in text.split(","))
