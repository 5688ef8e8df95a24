"""Reading one partition of the log by position."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from confluent_kafka import Consumer, Message

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.partition_consumer import OffsetGoneError, PartitionConsumer
from feature_pipeline.eventlog.kafka.records import LogClock, Mark, position_of, read_record
from feature_pipeline.eventlog.port import Entry, LogBatch, ahead, trimmed
from shared.events import EARLIEST

_REMEMBERED_BATCHES = 10_000
_SETTLING_SECONDS = 2.0
"""Between the marker of a transaction in the ledger and the one in another partition."""


class _Place(NamedTuple):
    """An offset, and the records on both sides of it if there are any."""

    offset: int
    preceding: Message | None
    following: Message | None


class PartitionReader:
    """Follows one partition; finds its place by bisection when a reader jumps.

    Attributes:
        position: the last position that was read.
    """

    def __init__(
        self,
        address: KafkaAddress,
        partition: int,
        asking: Consumer,
        clock: Callable[[], LogClock],
    ) -> None:
        self._consumer = PartitionConsumer(address, address.topic, partition, asking)
        self._partition = partition
        self._clock = clock
        self._watermark: datetime = EARLIEST
        self._offsets: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_BATCHES)
        self._begin = (0, 0)  # the partition's first offset, and the position before it
        self.position = -1

    def read(self, after: int, limit: int) -> LogBatch:
        """See ``EventLog.read``."""
        if after != self.position:
            self._go_after(after)
        entries: list[Entry] = []
        while wanted := limit - len(entries):
            try:
                messages = self._consumer.take(wanted)
            except OffsetGoneError:
                self._go_after(self.position)
                messages = self._consumer.take(wanted)
            entries += self._entries(messages)
            if len(messages) < wanted:
                break
        self._offsets.append((self.position, self._consumer.next))
        return LogBatch(self._partition, tuple(entries), self.position, self._watermark)

    def offset_after(self, position: int) -> int:
        """Return an offset between an entry and the next one."""
        for known, offset in reversed(self._offsets):
            if known == position:
                return offset
        self.position = -1
        return self._find(position).offset

    def begins_after(self) -> int:
        """Return the position of the last entry that was trimmed away; 0 if none was."""
        low, _ = self._consumer.ends()
        known, position = self._begin
        if low == known:
            return position
        self.position = -1
        first = self._consumer.first_from(low)
        self._consumer.pause()  # it would fetch all that follows
        if first is None:
            return self._clock().lasts[self._partition]
        self._begin = (low, _entries_before(first))
        return self._begin[1]

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _entries(self, messages: list[Message]) -> list[Entry]:
        entries = []
        for message in messages:
            record = read_record(message)
            before = record.position if isinstance(record, Mark) else record.position - 1
            if before != self.position:
                after, self.position = self.position, -1
                raise trimmed(self._partition, after, before + 1)
            self.position = record.position
            if isinstance(record, Mark):
                self._watermark = max(self._watermark, record.watermark)
            else:
                self._watermark = record.event.known_at
                entries.append(record)
        return entries

    def _go_after(self, position: int) -> None:
        self.position = -1
        last = self._clock().lasts[self._partition]
        if position > last:
            raise ahead(self._partition, position, last)
        place = self._find(position)
        deadline = time.monotonic() + _SETTLING_SECONDS
        while place.following is None and position < last:
            if time.monotonic() > deadline:
                raise trimmed(self._partition, position, last + 1)
            place = self._find(position)
        if place.following is not None and _entries_before(place.following) != position:
            raise trimmed(self._partition, position, _entries_before(place.following) + 1)
        self._consumer.go_to(place.offset)
        self._offsets.clear()
        self._watermark = EARLIEST if place.preceding is None else _watermark_of(place.preceding)
        self.position = position

    def _find(self, position: int) -> _Place:
        """Find the place after a position's entry, and after the marks that follow it."""
        low, high = self._consumer.ends()
        preceding = following = None
        while low < high:
            middle = (low + high) // 2
            found = self._consumer.first_from(middle)
            if found is None:
                high = middle
            elif position_of(found) > position:
                high, following = middle, found
            else:
                low, preceding = (found.offset() or 0) + 1, found
        return _Place(low, preceding, following)


def _entries_before(message: Message) -> int:
    record = read_record(message)
    return record.position if isinstance(record, Mark) else record.position - 1


def _watermark_of(message: Message) -> datetime:
    record = read_record(message)
    return record.watermark if isinstance(record, Mark) else record.event.known_at
