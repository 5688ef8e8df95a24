"""The event log is trimmed: by age, and only what the stream has done with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import (
    EventLog,
    LogBatch,
    LogUnavailableError,
    partition_of,
)
from feature_pipeline.maintenance.log_trimming import trim_before
from tests.features.conftest import START, TurnableClock
from tests.features.test_eventlog import mention


def test_log_is_trimmed_by_age_and_only_what_is_acknowledged(
    log: EventLog, clock: TurnableClock
) -> None:
    """Old entries go once the stream has done with them; young ones and the rest stay."""
    part = partition_of("subject:heat", 2)
    for number in range(10):
        log.append([mention(number)])
        clock.turn(hours=1)
    log.acknowledge(part, 6)
    assert trim_before(log, START + timedelta(hours=4), dry_run=True) == 4
    assert [entry.position for entry in log.read(part, 0, 1).entries] == [1]
    assert trim_before(log, START + timedelta(hours=4)) == 4
    assert trim_before(log, START + timedelta(hours=4)) == 0
    assert trim_before(log, START + timedelta(hours=9)) == 2
    assert log.acknowledged(part) == range(7, 7)
    assert [entry.position for entry in log.read(part, 6, 9).entries] == [7, 8, 9, 10]


class SlowLog(MemoryEventLog):
    """Sends no entry in time."""

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        return replace(super().read(partition, after, limit), entries=(), position=after)


def test_log_too_slow_to_be_trimmed_is_named(clock: TurnableClock) -> None:
    """An entry that does not come in time is told, with what to do; nothing is forgotten."""
    log, part = SlowLog(clock=clock), partition_of("subject:heat", 2)
    log.append([mention(1)])
    log.acknowledge(part, 1)
    with pytest.raises(LogUnavailableError, match=f"partition {part}: expected the entry at pos"):
        trim_before(log, START + timedelta(days=1))
    assert log.acknowledged(part) == range(1, 2)
