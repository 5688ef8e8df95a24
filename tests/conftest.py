"""Servers of other people that several suites run against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shared.places import Places
from tests.kafka_cluster import KafkaCluster
from tests.redis_server import BINARY, RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running, empty Redis server."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def kafka_cluster() -> Iterator[KafkaCluster]:
    """A running, empty Kafka cluster."""
    cluster = KafkaCluster()
    yield cluster
    cluster.close()


@contextmanager
def running_redis(folder: Path, *, password: str = "") -> Iterator[RedisServer]:
    """Run a Redis server; the test is skipped where there is none."""
    if BINARY is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    server = RedisServer(folder, password=password)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def places_on(kind: str, home: Path, request: pytest.FixtureRequest) -> Places:
    """Return places under a home, with the online store on ``sqlite`` or on ``redis``."""
    embedded = Places.embedded(home)
    if kind == "sqlite":
        return embedded
    server: RedisServer = request.getfixturevalue("redis_server")
    return replace(embedded, online_store=server.address)
