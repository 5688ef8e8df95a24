"""The event log on Kafka, for several machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl
from confluent_kafka import KafkaException, TopicPartition

from feature_pipeline.eventlog.clock import Clock, utc_now
from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.clients import answered, consumer
from feature_pipeline.eventlog.kafka.ledger_cache import LedgerCache
from feature_pipeline.eventlog.kafka.ledger_end import LedgerEnd
from feature_pipeline.eventlog.kafka.reader import PartitionReader
from feature_pipeline.eventlog.kafka.records import LogClock
from feature_pipeline.eventlog.kafka.topics import KafkaTopics
from feature_pipeline.eventlog.kafka.writer import KafkaWriter
from feature_pipeline.eventlog.port import LogBatch, Receipt, ahead, unacknowledged
from shared.events import Label, Mention


class KafkaEventLog:
    """Holds to the promises of ``EventLog``; safe to use from several threads.

    Any number of processes read; one at a time writes, the one that came last (ADR 0012).
    """

    def __init__(
        self,
        address: KafkaAddress,
        partitions: int,
        cache: Path,
        clock: Clock = utc_now,
        topics: KafkaTopics | None = None,
    ) -> None:
        """Make the topics if they are missing.

        Args:
            address: of brokers and topic.
            partitions: of the topic; fixed when it is made.
            cache: a file for what a gateway knows of the ledger; it can be lost.
            clock: tells when events are known.
            topics: makes and trims the topics, if not in the usual way.

        Raises:
            StateError: the topic has another number of partitions.
            LogUnavailableError: no broker answers.
        """
        self.partitions = partitions
        self._address = address
        self._topics = topics or KafkaTopics(address)
        cluster = self._topics.ensure(partitions)
        self._group = consumer(address)
        self._cache = LedgerCache(cache, address, cluster, partitions, self._group)
        self._writer = KafkaWriter(address, self._cache, clock)
        self._ledger = LedgerEnd(address, partitions, self._group)
        self._lock = threading.Lock()
        self._readers: dict[int, PartitionReader] = {}
        self._acknowledged: dict[int, int] = {}

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        return self._writer.append(events)

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """See ``EventLog``."""
        self._writer.begin_after(watermark, mentions, labels)

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        self._writer.heartbeat()

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        with self._asking():
            return self._reader(partition).read(after, limit)

    def acknowledge(self, partition: int, position: int) -> None:
        """See ``EventLog``."""
        with self._asking():
            acknowledged = self._acknowledged or self._committed()
            if position <= acknowledged[partition]:
                return
            reader = self._reader(partition)
            # The ledger's end is asked only where the log itself was not seen to go so far.
            if position > reader.position and position > (last := self._clock().lasts[partition]):
                raise ahead(partition, position, last)
            # The offset is for Kafka's own tools; the position is what is read back.
            place = TopicPartition(
                self._address.topic, partition, reader.offset_after(position), str(position)
            )
            for done in self._group.commit(offsets=[place], asynchronous=False):
                if done.error is not None:
                    raise KafkaException(done.error)
            acknowledged[partition] = position

    def backlog(self) -> int:
        """See ``EventLog``."""
        with self._asking():
            acknowledged, lasts = self._committed(), self._clock().lasts
            return sum(max(0, last - acknowledged[part]) for part, last in enumerate(lasts))

    def acknowledged(self, partition: int) -> range:
        """See ``EventLog``."""
        with self._asking():
            last = self._committed()[partition]
            return range(self._reader(partition).begins_after() + 1, last + 1)

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        with self._asking():
            acknowledged = self._committed()[partition]
            if before - 1 > acknowledged:
                raise unacknowledged(partition, before, acknowledged)
            offset = self._reader(partition).offset_after(before - 1)
            self._topics.delete_before(partition, offset)

    def size(self) -> int:
        """See ``EventLog``."""
        with self._asking():
            lasts = self._clock().lasts
            return sum(
                last - self._reader(partition).begins_after()
                for partition, last in enumerate(lasts)
            )

    def close(self) -> None:
        """See ``EventLog``."""
        self._writer.close()
        self._cache.close()
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            self._ledger.close()
            self._group.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock, answered(self._address):
            yield

    def _reader(self, partition: int) -> PartitionReader:
        if partition not in self._readers:
            self._readers[partition] = PartitionReader(
                self._address, partition, self._group, self._clock
            )
        return self._readers[partition]

    def _clock(self) -> LogClock:
        return self._writer.clock or self._ledger.clock()

    def _committed(self) -> dict[int, int]:
        """Return the acknowledged position of each partition, as the brokers have it."""
        places = [TopicPartition(self._address.topic, p) for p in range(self.partitions)]
        for place in self._group.committed(places, timeout=self._address.answer_seconds):
            if place.error is not None:
                raise KafkaException(place.error)
            told = place.metadata or ""  # none, where nothing or somebody else committed
            self._acknowledged[place.partition] = int(told) if told.isdecimal() else 0
        return self._acknowledged
