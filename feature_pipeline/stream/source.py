"""The event log as a Bytewax source: one source partition for each partition of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from threading import Event

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from feature_pipeline.eventlog.port import EventLog, LogBatch, LogUnavailableError
from feature_pipeline.stream.first_error import FirstError
from feature_pipeline.stream.metrics import StreamMetrics
from shared.events import EARLIEST
from shared.logs import get_logger

KeyedBatch = tuple[str, LogBatch]

_IDLE_STEP = timedelta(seconds=1)
"""Without events, time passes downstream in steps of at least this."""
_PATIENCE = timedelta(seconds=60)
"""How long a log may be away before the worker stops."""
_RETRY = timedelta(seconds=1)

_log = get_logger(__name__)


class LogPartition(StatefulSourcePartition[KeyedBatch, int]):
    """Follows one partition; its snapshot is the position of the last entry that it emitted.

    A snapshot is not saved yet when it is taken: Bytewax writes it when all steps have done with
    its epoch, and takes the next one only after that, since a source gets no turn in an epoch
    before the one before is written. So at each snapshot the one before is acknowledged.
    """

    def __init__(self, source: LogSource, partition: int, position: int) -> None:
        self._source = source
        self._partition = partition
        self._position = position
        self._snapshot = position
        self._acknowledged: int | None = None
        self._watermark = EARLIEST
        self._next_awake: datetime | None = None
        self._away_since: datetime | None = None

    def next_batch(self) -> Iterable[KeyedBatch]:
        """Return what is new; see ``_next_batch``."""
        with self._source.errors:
            return self._next_batch()

    def _next_batch(self) -> Iterable[KeyedBatch]:
        """Return what is new: entries, or only the time that has passed.

        Raises:
            StopIteration: the worker was told to stop.
            StateError: the entries after the position have been trimmed from the log.
            LogUnavailableError: the log has been away for longer than a minute.
        """
        source = self._source
        if source.stop.is_set():
            raise StopIteration  # Bytewax ends the epoch and saves the state
        source.metrics.turned()
        try:
            batch = source.log.read(self._partition, self._position, source.limit)
        except LogUnavailableError as error:
            self._wait_for_log(error)
            return []
        self._away_since = None
        full = len(batch.entries) == source.limit
        self._next_awake = None if full else datetime.now(UTC) + source.poll
        if not batch.entries and batch.watermark < self._watermark + _IDLE_STEP:
            return []
        source.metrics.read(len(batch.entries))
        self._position = batch.position
        self._watermark = batch.watermark
        return [(str(self._partition), batch)]

    def next_awake(self) -> datetime | None:
        """Return when to look again; at once while the log holds more."""
        return self._next_awake

    def snapshot(self) -> int:
        """Return the position to go on after; acknowledge the snapshot before."""
        saved, self._snapshot = self._snapshot, self._position
        self._source.metrics.saved()
        if saved != self._acknowledged:
            try:
                self._source.log.acknowledge(self._partition, saved)
                self._acknowledged = saved
            except LogUnavailableError as error:
                # Nothing depends on it now, and the next snapshot acknowledges more.
                _log.warning("cannot acknowledge", partition=self._partition, error=str(error))
        return self._snapshot

    def _wait_for_log(self, error: LogUnavailableError) -> None:
        """Look again later, unless the log has been away for too long."""
        now = datetime.now(UTC)
        if self._away_since is None:
            _log.warning("event log is away", partition=self._partition, error=str(error))
            self._away_since = now
        if now - self._away_since > _PATIENCE:
            raise error
        self._next_awake = now + _RETRY


class LogSource(FixedPartitionedSource[KeyedBatch, int]):
    """All partitions of an event log, until ``stop`` is set."""

    def __init__(
        self,
        log: EventLog,
        poll: timedelta,
        limit: int,
        stop: Event,
        metrics: StreamMetrics,
        *,
        begin_after: Callable[[int], int] = lambda _: 0,
        errors: FirstError | None = None,
    ) -> None:
        self.log = log
        self.poll = poll
        self.limit = limit
        self.stop = stop
        self.metrics = metrics
        self.begin_after = begin_after
        self.errors = errors or FirstError()

    def list_parts(self) -> list[str]:
        """Return the partitions."""
        return [str(partition) for partition in range(self.log.partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogPartition:  # noqa: ARG002 - Bytewax's signature
        """Follow a partition from where the last run left off, or else from its first position."""
        partition = int(for_part)
        position = self.begin_after(partition) if resume_state is None else resume_state
        return LogPartition(self, partition, position)
