"""A consumer of one partition that knows how far it has come."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.clients import consumer
from feature_pipeline.eventlog.port import LogUnavailableError

_PIECE = 1_000


class OffsetGoneError(LogUnavailableError):
    """The offset to go on from is not in the partition: records were deleted meanwhile."""


class PartitionConsumer:
    """Reads committed records from an offset on; not to be used by several threads at once.

    All records are written in transactions, and each transaction leaves a marker behind its
    records in each partition. Consumers never see markers, hence the last offset of a partition is
    never that of a record.

    Attributes:
        next: the offset of the first record that was not taken yet.
    """

    def __init__(self, address: KafkaAddress, topic: str, partition: int, asking: Consumer) -> None:
        """Take a partition.

        Args:
            address: of the log.
            topic: the log's, or the ledger's.
            partition: of the topic.
            asking: a consumer that fetches nothing. A broker answers the requests of a connection
                in order, hence what is asked behind a fetch waits as long as that does.
        """
        self._consumer = consumer(address)
        self._asking = asking
        self._answer_seconds = address.answer_seconds
        self._name = f"{address}, topic {topic}, partition {partition}"
        self._place = (topic, partition)
        self.next = -1

    def ends(self) -> tuple[int, int]:
        """Ask the broker for the first offset, and for the one after the last that is settled."""
        return self._asking.get_watermark_offsets(
            TopicPartition(*self._place), timeout=self._answer_seconds
        )

    def go_to(self, offset: int) -> None:
        """Go on from an offset."""
        self._consumer.assign([TopicPartition(*self._place, offset)])
        self.next = offset

    def take(self, limit: int) -> list[Message]:
        """Return up to ``limit`` records: all that are settled now, if the limit allows.

        Fewer come if the brokers are slow; what is missing comes with the next call.

        Raises:
            OffsetGoneError: the next record has been deleted.
            KafkaException: the brokers do not answer or refuse.
        """
        messages = self._arrived(limit)
        if len(messages) == limit:
            return messages
        _, end = self.ends()
        deadline = time.monotonic() + self._answer_seconds
        while len(messages) < limit and self.next < end - 1:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if (first := self._consumer.poll(left)) is not None:
                messages += self._records([first])
                messages += self._arrived(limit - len(messages))
        return messages

    def first_from(self, offset: int) -> Message | None:
        """Go to an offset and take the first record there or later; None if there is none."""
        self.go_to(offset)
        return next(iter(self.take(1)), None)

    def rest(self) -> Iterator[list[Message]]:
        """Yield all records up to the end as it is now, in pieces.

        Raises:
            LogUnavailableError: the brokers say that there are more, but do not send them.
        """
        _, end = self.ends()
        while self.next < end - 1:
            before = self.next
            yield self.take(_PIECE)
            if self.next == before:
                raise LogUnavailableError(
                    self._name, expected=f"records up to offset {end}", found=f"none from {before}"
                )

    def pause(self) -> None:
        """Fetch nothing until the next ``go_to``, which then waits for no fetch."""
        self._consumer.unassign()

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def _arrived(self, limit: int) -> list[Message]:
        return self._records(self._consumer.consume(limit, 0)) if limit else []

    def _records(self, messages: list[Message]) -> list[Message]:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
                self.next = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self.next = max(self.next, message.offset() or 0)
            elif error.code() in (
                KafkaError._AUTO_OFFSET_RESET,
                KafkaError.OFFSET_OUT_OF_RANGE,
            ):
                raise OffsetGoneError(
                    self._name, expected=f"a record at offset {self.next}", found="deleted records"
                )
            else:
                raise KafkaException(error)
        return records
