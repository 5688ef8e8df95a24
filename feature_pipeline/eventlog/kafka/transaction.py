"""One transaction of the log: what it writes, and the clock that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, Message, Producer

from feature_pipeline.definition.records import KnownEvent, KnownMention
from feature_pipeline.eventlog.encoding import encode_event
from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.records import (
    BEGIN,
    CLOCK,
    Headers,
    LogClock,
    entry_headers,
    ledger_record,
    mark_headers,
)
from feature_pipeline.eventlog.port import routes

_FULL_QUEUE_SECONDS = 0.05


class LogTransaction:
    """Nothing of it is seen by readers before it is committed, and all of it then.

    Every method raises ``KafkaException`` when the brokers refuse or do not answer; what becomes
    of the transaction is settled when its transactional id is taken over anew.
    """

    def __init__(self, producer: Producer, address: KafkaAddress) -> None:
        self._producer = producer
        self._address = address
        producer.begin_transaction()

    def record(self, events: Sequence[KnownEvent], lasts: Sequence[int]) -> tuple[int, ...]:
        """Write events to the partitions of their keys, and to the ledger.

        Args:
            events: in order of known_at.
            lasts: the last position in each partition before them.

        Returns:
            The last position in each partition with them.
        """
        topic, positions = self._address.topic, list(lasts)
        for event in events:
            keys = event.mention if isinstance(event, KnownMention) else event
            about = event.mention if isinstance(event, KnownMention) else event.label
            key, text = about.mention_id.encode(), encode_event(event).encode()
            for partition, roles in routes(keys.subject_id, keys.source_id, len(lasts)).items():
                positions[partition] += 1
                headers = entry_headers(positions[partition], roles)
                self._produce(topic, partition, key, text, headers)
        self.remember(events)
        return tuple(positions)

    def mark(self, lasts: Sequence[int], watermark: int) -> None:
        """Let time pass in all partitions, up to microseconds since 1970."""
        for partition, last in enumerate(lasts):
            headers = mark_headers(last, watermark)
            self._produce(self._address.topic, partition, None, None, headers)

    def forget_all(self) -> None:
        """Let the ledger begin anew."""
        self._produce(self._address.ledger, 0, BEGIN, b"", [])

    def remember(self, events: Sequence[KnownEvent]) -> None:
        """Write events to the ledger only."""
        self.remember_records(map(ledger_record, events))

    def remember_records(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write keys and values to the ledger only."""
        for key, value in records:
            self._produce(self._address.ledger, 0, key, value, [])

    def commit(self, clock: LogClock) -> int:
        """End the transaction with the log's clock; return the offset after it in the ledger."""
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets.append(message.offset() or 0)

        self._producer.produce(
            self._address.ledger, clock.encode(), CLOCK, partition=0, on_delivery=delivered
        )
        self._producer.commit_transaction(self._address.answer_seconds)
        return offsets[0] + 1

    def _produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition=partition, headers=headers)
            except BufferError:  # more than the client's queue holds: it must be emptied first
                self._producer.poll(_FULL_QUEUE_SECONDS)
            else:
                return
