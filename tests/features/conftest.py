"""Events and logs for the feature pipeline's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.task import Task
from tests.kafka_cluster import KafkaCluster, kafka_log
from tests.redis_server import RedisServer

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


@pytest.fixture(params=["memory", "sqlite", "redis", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path, clock: TurnableClock) -> Iterator[EventLog]:
    """Every implementation of the port; one suite holds them all to its promises."""
    made: EventLog
    if request.param == "memory":
        made = MemoryEventLog(partitions=2, clock=clock)
    elif request.param == "sqlite":
        made = SqliteEventLog(tmp_path / "log.db", partitions=2, clock=clock)
    elif request.param == "kafka":
        cluster: KafkaCluster = request.getfixturevalue("kafka_cluster")
        made = kafka_log(cluster, tmp_path / "ledger.db", clock=clock)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        made = RedisEventLog(server.address, "reviews", partitions=2, clock=clock)
    yield made
    made.close()


OpenLog = Callable[[int], EventLog]
"""Opens a log with a number of partitions."""


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens one and the same log, on the wall clock, as one process after the other would."""
    return _opener(request, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def open_shared_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens one and the same log as several gateways would that append at once.

    A log on Kafka has one gateway at a time: its own tests tell what becomes of a second one.
    """
    return _opener(request, tmp_path)


def _opener(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    if request.param == "sqlite":
        return partial(SqliteEventLog, tmp_path / "log.db")
    if request.param == "kafka":
        return partial(kafka_log, request.getfixturevalue("kafka_cluster"), tmp_path / "ledger.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return partial(RedisEventLog, server.address, "reviews")


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
