"""The event log as the stream reads it: what is acknowledged is saved, and a log may be away."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import LogBatch, LogUnavailableError, partition_of
from feature_pipeline.stream import source as source_module
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.source import KeyedBatch, LogPartition, LogSource
from tests.features.conftest import TurnableClock
from tests.features.test_eventlog import mention

PART = partition_of("subject:heat", 2)
NO_TIME = timedelta(0)


class FlakyLog(MemoryEventLog):
    """A log that can be away."""

    away = False

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        self._answer()
        return super().read(partition, after, limit)

    def acknowledge(self, partition: int, position: int) -> None:
        self._answer()
        super().acknowledge(partition, position)

    def _answer(self) -> None:
        if self.away:
            raise LogUnavailableError("log", expected="an answer", found="none")


def source_of(log: MemoryEventLog, limit: int = 3) -> LogSource:
    return LogSource(log, poll=NO_TIME, limit=limit, stop=Event(), metrics=StreamMetrics())


def filled(log: MemoryEventLog) -> MemoryEventLog:
    log.append([mention(n) for n in range(10)])
    return log


def waiting(log: MemoryEventLog) -> int:
    """Return the entries of the partition under test that are not acknowledged."""
    other = log.read(1 - PART, 0, 100).position if partition_of("source:ann", 2) != PART else 0
    return log.backlog() - other


def test_snapshot_acknowledges_the_one_before(clock: TurnableClock) -> None:
    """The newest snapshot may not be saved yet; what the one before it covers is."""
    log = filled(MemoryEventLog(clock=clock))
    part = LogPartition(source_of(log), PART, position=0)
    part.next_batch()
    assert part.snapshot() == 3
    assert waiting(log) == 10
    part.next_batch()
    assert part.snapshot() == 6
    assert waiting(log) == 10 - 3
    assert part.snapshot() == 6
    assert waiting(log) == 10 - 6


def test_resumed_position_is_acknowledged(clock: TurnableClock) -> None:
    """A position that the worker resumed from was saved."""
    log = filled(MemoryEventLog(clock=clock))
    part = source_of(log).build_part("read_log", str(PART), 6)
    part.snapshot()
    assert waiting(log) == 10 - 6


def test_log_that_is_away_is_waited_for(clock: TurnableClock) -> None:
    """While the log is away nothing is emitted or lost; then reading goes on."""
    log = FlakyLog(clock=clock)
    filled(log)
    part = LogPartition(source_of(log), PART, position=0)
    log.away = True
    assert list(part.next_batch()) == []
    assert part.snapshot() == 0
    next_awake = part.next_awake()
    assert next_awake is not None
    assert next_awake > datetime.now(UTC)
    log.away = False
    ((_, batch),) = part.next_batch()
    assert batch.position == 3
    part.snapshot()
    part.snapshot()
    assert waiting(log) == 10 - 3


def test_log_that_stays_away_stops_the_worker(
    clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its patience the source says what it could not reach."""
    monkeypatch.setattr(source_module, "_PATIENCE", NO_TIME)
    log = FlakyLog(clock=clock)
    part = LogPartition(source_of(log), PART, position=0)
    log.away = True
    part.next_batch()
    with pytest.raises(LogUnavailableError, match="found none"):
        part.next_batch()


class FailingSink(DynamicSink[LogBatch], StatelessSinkPartition[LogBatch]):
    """Ends the dataflow when it has written so many batches; 0: never."""

    def __init__(self, fail_after: int) -> None:
        self._left = fail_after

    def build(self, step_id: str, worker_index: int, worker_count: int) -> FailingSink:  # noqa: ARG002 - Bytewax's signature
        return self

    def write_batch(self, items: list[LogBatch]) -> None:
        self._left -= len(items)
        if self._left == 0:
            raise RuntimeError("crashed")


class WatchedSource(LogSource):
    """Reads the partition under test to the log's end, and notes where it resumes."""

    def __init__(self, log: MemoryEventLog, resumed: list[int]) -> None:
        super().__init__(log, poll=NO_TIME, limit=2, stop=Event(), metrics=StreamMetrics())
        self._resumed = resumed

    def list_parts(self) -> list[str]:
        return [str(PART)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogPartition:  # noqa: ARG002 - Bytewax's signature
        self._resumed.append(resume_state or 0)
        return EndingPartition(self, PART, resume_state or 0)


class EndingPartition(LogPartition):
    """Stops at the end of the log."""

    def next_batch(self) -> Iterable[KeyedBatch]:
        batches = list(super().next_batch())
        if not batches or not batches[0][1].entries:
            raise StopIteration
        return batches


@settings(max_examples=25, deadline=None)
@given(crashes=st.lists(st.integers(1, 6), max_size=4))
def test_crashed_worker_resumes_no_earlier_than_it_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, crashes: list[int]
) -> None:
    """Wherever the dataflow fails, what it acknowledged is not asked for again."""
    recovery = tmp_path_factory.mktemp("recovery")
    init_db_dir(recovery, 1)
    log, resumed = filled(MemoryEventLog(clock=TurnableClock())), list[int]()
    for fail_after in [*crashes, 0]:
        flow = Dataflow("features")
        batches = op.input("read_log", flow, WatchedSource(log, resumed))
        op.output("write_store", op.key_rm("batch", batches), FailingSink(fail_after))
        acknowledged = 10 - waiting(log)
        with suppress(RuntimeError):
            run_main(flow, epoch_interval=NO_TIME, recovery_config=RecoveryConfig(recovery))
        assert resumed[-1] >= acknowledged
    assert waiting(log) < 10
