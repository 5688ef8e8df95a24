"""The event log on a Redis server: a stream for each partition, shared by several gateways."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import polars as pl
from redis.exceptions import RedisError

from feature_pipeline.eventlog.clock import Clock, from_micros, to_micros, utc_now
from feature_pipeline.eventlog.encoding import FORMAT, decode_events, decode_roles
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
    trimmed,
    unacknowledged,
)
from feature_pipeline.eventlog.redis.append import RedisAppender, RedisKeys, numbers
from feature_pipeline.eventlog.redis.scripts import MAKE, RAISE, TRIM
from feature_pipeline.eventlog.redis.server import check_server
from shared.events import Label, Mention
from shared.redis_address import redis_client

_LOST_RACES = 3
"""After so many an appender asks for a turn, so that small appends cannot starve a large one."""
_APPEND_SECONDS = 10.0
"""Threads wait so long for each other at most, and gateways, should the server hang."""


class RedisEventLog:
    """Holds to the promises of ``EventLog``; safe to use from several threads and processes.

    Identity is settled here, from what the server remembers of a batch's mentions; a script on the
    server then appends everything in one step, unless another gateway appended meanwhile: then it
    is read and settled again. All keys carry one hash tag, so a cluster keeps them in one slot.
    """

    def __init__(
        self, address: str, name: str, partitions: int = 2, clock: Clock = utc_now
    ) -> None:
        """Open the log of a name, or make it.

        Args:
            address: of the server: ``redis://`` or ``rediss://``.
            name: sets the log apart from others on the same server.
            partitions: how many a new log gets, and an old one must have.
            clock: tells when events become known.

        Raises:
            StateError: the log has another number of partitions, or the server is not fit for it.
            LogUnavailableError: the server does not answer.
        """
        parts = urlsplit(address)
        self._place = f"event log {name!r} in Redis at {parts.hostname}"
        self.partitions = partitions
        self._clock = clock
        self._keys = RedisKeys(name)
        self._lock = threading.Lock()
        # The client's types mix those of its asynchronous twin into every answer.
        self._client: Any = redis_client(address)
        self._appender = RedisAppender(self._client, self._keys, partitions)
        self._make = self._client.register_script(MAKE)
        self._raise = self._client.register_script(RAISE)
        self._trim = self._client.register_script(TRIM)
        try:
            with self._reachable():
                check_server(self._client, self._place)
                self._make_or_check()
        except BaseException:
            self._client.close()
            raise

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        token, races = uuid.uuid4().hex, 0
        deadline = time.monotonic() + _APPEND_SECONDS
        # Threads of one gateway wait for each other here rather than race.
        with self._before_other_threads(), self._reachable():
            while True:
                seen, ledger = self._appender.look(events)
                receipts, recorded = settle_batch(ledger, events, seen.latest, self._clock)
                if recorded and self._appender.append(seen, recorded, token):
                    return receipts
                if not recorded:
                    if races >= _LOST_RACES:
                        self._appender.give_turn_back(token)
                    return receipts
                races += 1
                if time.monotonic() > deadline:
                    raise self._unavailable("other gateways that append all the time")
                if races >= _LOST_RACES:
                    self._appender.take_turn(token)
                time.sleep(random.uniform(0, 0.002) * races)  # noqa: S311 - only to part racers

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """See ``EventLog``."""
        with self._before_other_threads(), self._reachable():
            entries = self._appender.begin(watermark, mentions, labels)
        if entries:
            raise not_empty(entries)

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        with self._reachable():
            self._raise(keys=[self._keys.meta], args=["latest", to_micros(self._clock())])

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        with self._reachable():
            # No transaction, which a full server would refuse. What is appended or trimmed between
            # the two answers shows by its positions.
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hmget(self._keys.meta, "latest", f"last:{partition}", f"trimmed:{partition}")
            pipeline.xrange(self._keys.stream(partition), min=f"({after}-0", count=limit)
            found, rows = pipeline.execute()
        latest, last, gone = numbers(found)
        if after < gone:
            raise trimmed(partition, after, gone + 1)
        if after > last:
            raise ahead(partition, after, last)
        # An entry's identifier is its position, followed by "-0".
        placed = [(int(number[:-2]), fields) for number, fields in rows]
        first = placed[0][0] if placed else last + 1
        if first > after + 1:
            raise trimmed(partition, after, first)
        events = decode_events(fields[b"e"].decode() for _, fields in placed)
        entries = tuple(
            Entry(partition, position, decode_roles(int(fields[b"r"])), event)
            for (position, fields), event in zip(placed, events, strict=True)
        )
        position = entries[-1].position if entries else after
        return LogBatch(
            partition=partition,
            entries=entries,
            position=position,
            watermark=from_micros(latest) if position == last else entries[-1].event.known_at,
        )

    def acknowledge(self, partition: int, position: int) -> None:
        """See ``EventLog``."""
        with self._reachable():
            (last,) = self._numbers(f"last:{partition}")
            if position > last:
                raise ahead(partition, position, last)
            self._raise(keys=[self._keys.meta], args=[f"acknowledged:{partition}", position])

    def backlog(self) -> int:
        """See ``EventLog``."""
        return self._between("acknowledged", "last")

    def acknowledged(self, partition: int) -> range:
        """See ``EventLog``."""
        with self._reachable():
            gone, acknowledged = self._numbers(f"trimmed:{partition}", f"acknowledged:{partition}")
        return range(gone + 1, acknowledged + 1)

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        with self._reachable():
            (acknowledged,) = self._numbers(f"acknowledged:{partition}")
            if before - 1 > acknowledged:
                raise unacknowledged(partition, before, acknowledged)
            self._trim(
                keys=[self._keys.meta, self._keys.stream(partition)],
                args=[partition, before, before - 1],
            )

    def size(self) -> int:
        """See ``EventLog``."""
        return self._between("trimmed", "last")

    def close(self) -> None:
        """See ``EventLog``."""
        self._client.close()

    def _make_or_check(self) -> None:
        meta = self._keys.meta
        if not self._client.exists(meta):
            zeros = ("version", "latest", *self._fields("last", "trimmed", "acknowledged"))
            new = {"partitions": self.partitions, "format": FORMAT, **dict.fromkeys(zeros, 0)}
            self._make(keys=[meta], args=[part for pair in new.items() for part in pair])
        found, written = self._numbers("partitions", "format")
        if written != FORMAT:
            raise other_format(self._place, FORMAT, written)
        if found != self.partitions:
            raise other_partitions(self._place, self.partitions, found)

    def _fields(self, *names: str) -> list[str]:
        return [f"{name}:{partition}" for name in names for partition in range(self.partitions)]

    def _numbers(self, *fields: str) -> list[int]:
        return numbers(self._client.hmget(self._keys.meta, fields))

    def _between(self, lower: str, upper: str) -> int:
        with self._reachable():
            positions = self._numbers(*self._fields(lower, upper))
        return sum(positions[self.partitions :]) - sum(positions[: self.partitions])

    @contextmanager
    def _before_other_threads(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_APPEND_SECONDS):
            raise self._unavailable("appends that wait for an earlier one")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise self._unavailable(str(error)) from error

    def _unavailable(self, found: str) -> LogUnavailableError:
        return LogUnavailableError(
            self._place,
            expected="a server that takes and gives entries",
            found=found,
            remedy="Start the server or mend what it says; then send it again.",
        )
