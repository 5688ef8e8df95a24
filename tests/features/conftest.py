"""Events and logs for the feature pipeline's tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.task import Task

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TurnableClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path, clock: TurnableClock) -> Iterator[EventLog]:
    """Every implementation of the port; one suite holds them all to its promises."""
    made: EventLog
    if request.param == "memory":
        made = MemoryEventLog(partitions=2, clock=clock)
    else:
        made = SqliteEventLog(tmp_path / "log.db", partitions=2, clock=clock)
    yield made
    made.close()


@pytest.fixture
def task() -> Task:
    return small_task()


def small_task(**changes: object) -> Task:
    """Return a task with short windows, so that tests see them forget."""
    document: dict[str, object] = {
        "name": "reviews",
        "labels": ["bad", "good"],
        "input": {
            "format": "csv",
            "columns": {
                "text": "text",
                "mention_id": "id",
                "subject_id": "film",
                "source_id": "critic",
                "published_at": "date",
                "label": "rating",
            },
            "label_delay": "10s",
        },
        "subjects": {"aliases": {"heat": ["heat"]}},
        "activity": {"windows": {"60s": "10s", "10m": "1m"}},
        "training": {"base": "some/encoder"},
        **changes,
    }
    return Task.model_validate(document)
