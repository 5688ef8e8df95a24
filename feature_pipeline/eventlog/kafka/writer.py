"""Appending: the gateway's side of the log, of which there is one at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, starmap

import polars as pl
from confluent_kafka import KafkaError, KafkaException, Producer

from feature_pipeline.eventlog.clock import Clock, from_micros, to_micros
from feature_pipeline.eventlog.history_rows import label_rows, mention_rows
from feature_pipeline.eventlog.identity import settle_batch
from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.clients import answered, producer
from feature_pipeline.eventlog.kafka.ledger_cache import LedgerCache
from feature_pipeline.eventlog.kafka.records import LogClock, label_record, mention_record
from feature_pipeline.eventlog.kafka.transaction import LogTransaction
from feature_pipeline.eventlog.port import LogUnavailableError, Receipt, not_empty
from feature_pipeline.eventlog.sqlite_ledger import (
    forget_all,
    recall,
    remember,
    remember_labels,
    remember_mentions,
)
from shared.events import Label, Mention

_HISTORY_CHUNK = 20_000
"""Mentions or labels in a transaction; brokers abort one that lasts too long."""


@dataclass
class _Session:
    """The transactional id, held, and what the ledger told up to now."""

    producer: Producer
    clock: LogClock


class KafkaWriter:
    """Appends in transactions under the log's one transactional id.

    The first call takes the id over, which fences a gateway that had it, and reads what the ledger
    told meanwhile. After a failure nobody knows whether the transaction was committed: the next
    call takes over anew, which settles that, and reads what became of it.
    """

    def __init__(self, address: KafkaAddress, cache: LedgerCache, clock: Clock) -> None:
        self._address = address
        self._cache = cache
        self._now = clock
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._fenced = False

    @property
    def clock(self) -> LogClock | None:
        """The log's clock, if this process writes the log."""
        session = self._session
        return None if session is None else session.clock

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog.append``."""
        with self._ready() as (session, cursor):
            clock = self._whole(session.clock)
            ledger = recall(cursor, events)
            receipts, recorded = settle_batch(ledger, events, from_micros(clock.latest), self._now)
            if recorded:
                remember(cursor, recorded)
                transaction = LogTransaction(session.producer, self._address)
                lasts = transaction.record(recorded, clock.lasts)
                latest = to_micros(recorded[-1].known_at)
                clock = replace(clock, latest=latest, lasts=lasts)
                self._commit(session, cursor, transaction, clock)
        return receipts

    def heartbeat(self) -> None:
        """See ``EventLog.heartbeat``."""
        with self._ready() as (session, cursor):
            clock = self._whole(session.clock)
            clock = replace(clock, latest=max(clock.latest, to_micros(self._now())))
            transaction = LogTransaction(session.producer, self._address)
            transaction.mark(clock.lasts, clock.latest)
            self._commit(session, cursor, transaction, clock)

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """See ``EventLog.begin_after``.

        Time does not go back, since readers may have seen it; hence an earlier call's watermark is
        replaced by a later one only.
        """
        with self._ready() as (session, cursor):
            clock = session.clock
            if any(clock.lasts):
                raise not_empty(sum(clock.lasts))
            transaction = LogTransaction(session.producer, self._address)
            transaction.forget_all()
            forget_all(cursor)
            for records in _history_records(cursor, mentions, labels):
                transaction.remember_records(records)
                self._commit(session, cursor, transaction, replace(clock, loading=True))
                transaction = LogTransaction(session.producer, self._address)
            latest = max(clock.latest, to_micros(watermark))
            transaction.mark(clock.lasts, latest)
            self._commit(session, cursor, transaction, replace(clock, latest=latest, loading=False))

    def close(self) -> None:
        """Give the transactional id back."""
        with self._lock:
            self._let_go()

    @contextmanager
    def _ready(self) -> Iterator[tuple[_Session, sqlite3.Cursor]]:
        """Hold the id, and the ledger's cache while it is up to date."""
        with self._lock:
            if self._fenced:
                raise self._superseded()
            try:
                with answered(self._address), self._cache.transaction() as cursor:
                    if self._session is None:
                        self._session = self._take_over(cursor)
                    yield self._session, cursor
            except BaseException as error:
                self._let_go()
                if _is_fenced(error.__cause__):
                    self._fenced = True
                    raise self._superseded() from error
                raise

    def _take_over(self, cursor: sqlite3.Cursor) -> _Session:
        writer = producer(self._address)
        writer.init_transactions(self._address.answer_seconds)
        return _Session(writer, self._cache.catch_up(cursor))

    def _commit(
        self,
        session: _Session,
        cursor: sqlite3.Cursor,
        transaction: LogTransaction,
        clock: LogClock,
    ) -> None:
        offset = transaction.commit(clock)
        self._cache.advance(cursor, offset, clock)
        session.clock = clock

    def _let_go(self) -> None:
        if self._session is not None:
            self._session.producer.purge()  # what is left of a transaction that failed
            self._session = None

    def _whole(self, clock: LogClock) -> LogClock:
        if clock.loading:
            raise LogUnavailableError(
                str(self._address),
                expected="all of history told to the log",
                found="a backfill that was broken off",
                remedy="Run it again to its end.",
            )
        return clock

    def _superseded(self) -> LogUnavailableError:
        return LogUnavailableError(
            str(self._address),
            expected="one gateway, or one backfill, that writes it",
            found="another one that has taken over",
            remedy="Stop this one, or stop the other and start this one again.",
        )


def _history_records(
    cursor: sqlite3.Cursor, mentions: pl.DataFrame, labels: pl.DataFrame
) -> Iterator[Iterable[tuple[bytes, bytes]]]:
    """Return a transaction's worth of ledger records at a time, which the cache holds by then."""
    of_mentions, of_labels = mention_rows(mentions), label_rows(labels)
    while named := list(islice(of_mentions, _HISTORY_CHUNK)):
        remember_mentions(cursor, named)
        yield starmap(mention_record, named)
    while labelled := list(islice(of_labels, _HISTORY_CHUNK)):
        remember_labels(cursor, labelled)
        yield starmap(label_record, labelled)


def _is_fenced(error: BaseException | None) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError._FENCED
