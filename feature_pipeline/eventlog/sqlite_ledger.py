"""A ledger in SQLite tables: which mentions and labels a log holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.clock import from_micros, to_micros
from feature_pipeline.eventlog.identity import HeldLedger
from shared.events import Label, Mention

LEDGER_SCHEMA = """
CREATE TABLE IF NOT EXISTS mentions (
    mention_id TEXT PRIMARY KEY, subject_id TEXT NOT NULL, source_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    mention_id TEXT PRIMARY KEY, label TEXT NOT NULL, known_at INTEGER NOT NULL) WITHOUT ROWID;
"""


def recall(cursor: sqlite3.Cursor, events: Iterable[Mention | Label]) -> HeldLedger:
    """Return what is remembered of the mentions that some events are about."""
    ledger = HeldLedger()
    for event in events:
        mention_id = event.mention_id
        row = cursor.execute(
            "SELECT subject_id, source_id FROM mentions WHERE mention_id = ?", (mention_id,)
        ).fetchone()
        if row is not None:
            ledger.keys[mention_id] = (row[0], row[1])
        if isinstance(event, Label):
            row = cursor.execute(
                "SELECT label, known_at FROM labels WHERE mention_id = ?", (mention_id,)
            ).fetchone()
            if row is not None:
                ledger.labels[mention_id] = (row[0], from_micros(row[1]))
    return ledger


def remember(cursor: sqlite3.Cursor, events: Sequence[KnownEvent]) -> None:
    """Take note of events, each new in the order given."""
    mentions = [event.mention for event in events if isinstance(event, KnownMention)]
    labels = [event for event in events if isinstance(event, KnownLabel)]
    remember_mentions(cursor, ((m.mention_id, m.subject_id, m.source_id) for m in mentions))
    remember_labels(
        cursor,
        (
            (known.label.mention_id, known.label.label, to_micros(known.known_at))
            for known in labels
        ),
    )


def remember_mentions(cursor: sqlite3.Cursor, rows: Iterable[tuple[str, str, str]]) -> None:
    """Take note of new mentions: id, subject, source."""
    cursor.executemany("INSERT INTO mentions VALUES (?, ?, ?)", rows)


def remember_labels(cursor: sqlite3.Cursor, rows: Iterable[tuple[str, str, int]]) -> None:
    """Take note of current labels: mention, label, when it became known (µs since 1970)."""
    cursor.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", rows)


def forget_all(cursor: sqlite3.Cursor) -> None:
    """Forget all mentions and labels."""
    cursor.execute("DELETE FROM mentions")
    cursor.execute("DELETE FROM labels")
