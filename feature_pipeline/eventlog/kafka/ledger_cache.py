"""What the gateway knows of the ledger's topic, so that a restart reads only the rest of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from confluent_kafka import Consumer

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.partition_consumer import OffsetGoneError, PartitionConsumer
from feature_pipeline.eventlog.kafka.records import BEGIN, CLOCK, LogClock, ledger_row
from feature_pipeline.eventlog.port import LogUnavailableError
from feature_pipeline.eventlog.sqlite_ledger import LEDGER_SCHEMA, forget_all
from shared.errors import StateError
from shared.sqlite_file import open_sqlite

_SCHEMA = (
    LEDGER_SCHEMA
    + """
CREATE TABLE IF NOT EXISTS progress (
    ledger TEXT PRIMARY KEY, next INTEGER NOT NULL, clock BLOB NOT NULL) WITHOUT ROWID;
"""
)


class LedgerCache:
    """Mentions and labels by id, as the ledger's topic told them up to an offset.

    Nothing is lost with it: another machine reads the whole topic once. A crash may throw it back
    by some transactions, which are read again.
    """

    def __init__(
        self, path: Path, address: KafkaAddress, cluster: str, partitions: int, asking: Consumer
    ) -> None:
        self._address = address
        self._asking = asking
        self._name = f"{cluster}/{address.ledger}"
        self._partitions = partitions
        self._connection = open_sqlite(path, _SCHEMA)
        self._connection.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """Hold the cache; what was changed stays if nothing is raised."""
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise LogUnavailableError(
                    f"{self._address}, cache of its ledger",
                    expected="a file that can be read and written",
                    found=str(error),
                    remedy="See that its disk is there and not full.",
                ) from error
            finally:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")

    def catch_up(self, cursor: sqlite3.Cursor) -> LogClock:
        """Take note of what the topic told since; return the log's clock.

        Raises:
            StateError: the topic has lost records.
        """
        ledger = PartitionConsumer(self._address, self._address.ledger, 0, self._asking)
        with closing(ledger) as topic:
            low, end = topic.ends()
            offset, clock = self._progress(cursor)
            if offset > end:  # another topic of this name
                offset, clock = 0, LogClock.new(self._partitions)
            if not offset:
                forget_all(cursor)
            if low > offset:
                raise self._lost(offset, low)
            topic.go_to(offset)
            try:
                for messages in topic.rest():
                    for message in messages:
                        key, value = message.key() or b"", message.value() or b""
                        if key == CLOCK:
                            clock = LogClock.decode(value, str(self._address))
                        else:
                            _apply(cursor, key, value)
            except OffsetGoneError:
                raise self._lost(topic.next, low) from None
            self.advance(cursor, topic.next, clock)
        return clock

    def advance(self, cursor: sqlite3.Cursor, offset: int, clock: LogClock) -> None:
        """Take note that all records before an offset are known."""
        cursor.execute("DELETE FROM progress")
        cursor.execute(
            "INSERT INTO progress VALUES (?, ?, ?)", (self._name, offset, clock.encode())
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _progress(self, cursor: sqlite3.Cursor) -> tuple[int, LogClock]:
        row = cursor.execute(
            "SELECT next, clock FROM progress WHERE ledger = ?", (self._name,)
        ).fetchone()
        if row is None:
            return 0, LogClock.new(self._partitions)
        return row[0], LogClock.decode(row[1], str(self._address))

    def _lost(self, offset: int, low: int) -> StateError:
        return StateError(
            f"{self._address}, topic {self._address.ledger}",
            expected=f"the records from offset {offset} on",
            found=f"a topic that begins at {low}",
            remedy="It must be compacted, never cut (cleanup.policy=compact): without it the log"
            " takes known mentions for new. Begin with a new topic and a backfill.",
        )


def _apply(cursor: sqlite3.Cursor, key: bytes, value: bytes) -> None:
    if key == BEGIN:
        forget_all(cursor)
        return
    is_mention, row = ledger_row(key, value)
    table = "mentions" if is_mention else "labels"
    cursor.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", row)  # noqa: S608 - one of two
