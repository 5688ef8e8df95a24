"""The event log as a Bytewax source: one source partition for each partition of the log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from threading import Event

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from feature_pipeline.eventlog.port import EventLog, LogBatch
from shared.events import EARLIEST

KeyedBatch = tuple[str, LogBatch]

_IDLE_STEP = timedelta(seconds=1)
"""Without events, time passes downstream in steps of at least this."""


class LogPartition(StatefulSourcePartition[KeyedBatch, int]):
    """Follows one partition; its snapshot is the position of the last entry that it emitted."""

    def __init__(self, source: LogSource, partition: int, position: int) -> None:
        self._source = source
        self._partition = partition
        self._position = position
        self._watermark = EARLIEST
        self._next_awake: datetime | None = None

    def next_batch(self) -> Iterable[KeyedBatch]:
        """Return what is new: entries, or only the time that has passed.

        Raises:
            StopIteration: the worker was told to stop.
            StateError: the entries after the position have been trimmed from the log.
        """
        source = self._source
        if source.stop.is_set():
            raise StopIteration  # Bytewax ends the epoch and saves the state
        batch = source.log.read(self._partition, self._position, source.limit)
        full = len(batch.entries) == source.limit
        self._next_awake = None if full else datetime.now(UTC) + source.poll
        if not batch.entries and batch.watermark < self._watermark + _IDLE_STEP:
            return []
        self._position = batch.position
        self._watermark = batch.watermark
        return [(str(self._partition), batch)]

    def next_awake(self) -> datetime | None:
        """Return when to look again; at once while the log holds more."""
        return self._next_awake

    def snapshot(self) -> int:
        """Return the position to go on after."""
        return self._position


class LogSource(FixedPartitionedSource[KeyedBatch, int]):
    """All partitions of an event log, until ``stop`` is set."""

    def __init__(self, log: EventLog, poll: timedelta, limit: int, stop: Event) -> None:
        self.log = log
        self.poll = poll
        self.limit = limit
        self.stop = stop

    def list_parts(self) -> list[str]:
        """Return the partitions."""
        return [str(partition) for partition in range(self.log.partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogPartition:  # noqa: ARG002 - Bytewax's signature
        """Follow a partition from the beginning, or from where the last run's state left off."""
        return LogPartition(self, int(for_part), resume_state or 0)
