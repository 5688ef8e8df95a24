"""The end of the ledger's topic: the clock of the log, for those who do not write it."""

from __future__ import annotations

from confluent_kafka import Consumer

from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.partition_consumer import PartitionConsumer
from feature_pipeline.eventlog.kafka.records import CLOCK, LogClock

_FIRST_STEP = 2
"""The clock and the marker of its transaction."""
_WIDER = 8


class LedgerEnd:
    """Reads the log's clock."""

    def __init__(self, address: KafkaAddress, partitions: int, asking: Consumer) -> None:
        self._address = address
        self._partitions = partitions
        self._consumer = PartitionConsumer(address, address.ledger, 0, asking)

    def clock(self) -> LogClock:
        """Return the clock as of the last transaction.

        Raises:
            StateError: another version of this software writes the log.
        """
        low, end = self._consumer.ends()
        step = _FIRST_STEP
        while end > low:
            start = max(low, end - step)
            self._consumer.go_to(start)
            # The clock ends each transaction; those that were aborted leave gaps behind it.
            pieces = self._consumer.rest()
            clocks = [one for piece in pieces for one in piece if one.key() == CLOCK]
            if clocks:
                self._consumer.pause()
                return LogClock.decode(clocks[-1].value() or b"", str(self._address))
            if start == low:
                break
            step *= _WIDER
        return LogClock.new(self._partitions)

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()
