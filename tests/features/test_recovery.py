"""Whatever is killed or away, nothing is lost and nothing is counted twice."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import httpx
import pytest
from deltalake import DeltaTable
from feast import FeatureView

from feature_pipeline.store.outage import OUTAGES
from feature_pipeline.stream.patience import Patience
from shared.errors import StateError
from shared.feature_store import open_feature_store, registry_errors
from shared.places import Places, offline_folder
from tests.features.pipeline_processes import PipelineProcesses, kill, label, mention
from tests.features.stream_process import answers, free_port, until
from tests.redis_server import RedisServer

WORKER_KILLS = int(os.environ.get("FTI_TEST_KILLS", "20"))
BATCH = 10


@pytest.mark.timeout(240 + 10 * WORKER_KILLS)
def test_killed_gateway_and_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    """After dozens of kill -9, in their starts and amid writes, all is as one batch has it.

    A client posts all the while, and posts again what was not answered.
    """
    chance = random.Random(20_260_301)  # noqa: S311 - the same moments each time
    port = free_port()
    pipeline = PipelineProcesses(tmp_path / "home", {"FTI_FEATURES_PORT": str(port)})
    gateways = Gateways(pipeline, f"http://127.0.0.1:{port}")
    client = Client(gateways.url)
    gateways.start()
    client.start()
    try:
        for number in range(WORKER_KILLS):
            if number % 2 == 0:
                gateways.kill_after(chance.uniform(0.0, 1.0))
            kill_worker(pipeline, chance)
        client.finish()
        pipeline.note_events()
        with pipeline.running("stream") as worker:
            until(pipeline.is_settled, "the features to settle")
        assert worker.exitcode == 0, pipeline.printed()
    finally:
        client.finish()
        gateways.finish()
    assert gateways.kills == (WORKER_KILLS + 1) // 2
    posted = {f"m{n}" for n in range(client.batches * BATCH)}
    texts = pipeline.written("mention_text")["mention_id"].to_list()
    assert set(texts) == posted
    assert len(texts) == len(posted)
    pipeline.assert_complete()


def kill_worker(pipeline: PipelineProcesses, chance: random.Random) -> None:
    """Kill a worker: while it starts, or soon after it has written something new."""
    seen = version(pipeline)
    worker = pipeline.start("stream")
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0.0, 1.5))
    else:
        until(lambda: version(pipeline) > seen or not worker.is_alive(), "a write")
        assert worker.is_alive(), pipeline.printed()
        time.sleep(chance.uniform(0.0, 0.6))
    kill(worker)


class Gateways(Thread):
    """A gateway that is killed when it is told to, and started again."""

    def __init__(self, pipeline: PipelineProcesses, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.kills = 0
        self._pipeline = pipeline
        self._moments: Queue[float | None] = Queue()

    def run(self) -> None:
        while True:
            gateway = self._pipeline.start("serve")
            until(lambda: answers(f"{self.url}/readyz"), "the gateway")
            moment = self._moments.get()
            time.sleep(moment or 0.0)
            kill(gateway)
            if moment is None:
                return
            self.kills += 1

    def kill_after(self, seconds: float) -> None:
        """Kill a gateway that is ready, some seconds from now or from when it is."""
        self._moments.put(seconds)

    def finish(self) -> None:
        """Do what was asked, and end."""
        self._moments.put(None)
        self.join()


def version(pipeline: PipelineProcesses) -> int:
    """Return the version of a table that every batch changes; -1 before it is made."""
    path = offline_folder(pipeline.home) / "subject_activity"
    return DeltaTable(path).version() if DeltaTable.is_deltatable(str(path)) else -1


class Client(Thread):
    """Posts batches of mentions and labels, each until it is answered."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.batches = 0
        self._finished = Event()

    def run(self) -> None:
        while not self._finished.is_set():
            first = self.batches * BATCH
            # Some of the batch before come again.
            mentions = [mention(n) for n in range(max(0, first - 3), first + BATCH)]
            labels = [label(first, "bad"), label(first // 2, "good")]
            bodies = {
                "mentions": {"mentions": [one.model_dump(mode="json") for one in mentions]},
                "labels": {"labels": [one.model_dump(mode="json") for one in labels]},
            }
            for path, body in bodies.items():
                until(lambda path=path, body=body: self._taken(path, body), "the gateway")  # type: ignore[misc]
            self.batches += 1
            self._finished.wait(0.1)

    def finish(self) -> None:
        """Post the batch that was begun to its end, and no other."""
        self._finished.set()
        self.join()

    def _taken(self, path: str, body: dict[str, object]) -> bool:
        try:
            answer = httpx.post(f"{self.url}/v1/{path}", json=body)
        except httpx.TransportError:
            return False
        return answer.is_success


def test_log_trimmed_past_the_saved_position_stops_the_worker(tmp_path: Path) -> None:
    """A worker whose place in the log is gone says so and exits with 1, and skips nothing."""
    pipeline = PipelineProcesses(tmp_path / "home")
    pipeline.append(0, 20)
    with closing(pipeline.open_log()) as log:
        for partition in range(log.partitions):
            end = log.read(partition, 0, 100).position
            log.acknowledge(partition, end)
            log.trim(partition, end)
    worker = pipeline.start("stream")
    worker.join(60)
    assert worker.exitcode == 1, pipeline.printed()
    assert "rebuild the features from the offline tables" in pipeline.printed()
    assert pipeline.written("mention_text").is_empty()


def test_only_an_outage_is_waited_for() -> None:
    """Other errors are raised at once, and a worker that is told to stop waits for nothing."""
    told_to_stop = Event()
    patience = Patience((OSError,), timedelta(hours=1), told_to_stop)

    def failing(error: Exception) -> None:
        tries.append(error)
        raise error

    tries: list[Exception] = []
    with pytest.raises(ValueError, match="a null"):
        patience(lambda: failing(ValueError("a null")))
    told_to_stop.set()
    with pytest.raises(StateError, match=r"found ConnectionError: refused\. Start the stream"):
        patience(lambda: failing(ConnectionError("refused")))
    assert len(tries) == 2


def test_locked_registry_is_waited_for(tmp_path: Path) -> None:
    """The feature registry is a database like others: somebody who holds it lets go again."""
    path = tmp_path / "feast" / "registry.db"
    places = Places.embedded(tmp_path)
    # Feast's first look makes the tables.
    open_feature_store(places).list_feature_views()
    store = open_feature_store(replace(places, feature_registry=f"sqlite:///{path}?timeout=0.05"))
    tries: list[bool] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        def look() -> list[FeatureView]:
            tries.append(True)
            if len(tries) > 1:
                other.rollback()
            with registry_errors(store):
                return store.list_feature_views()

        assert Patience(OUTAGES, timedelta(minutes=1), Event())(look) == []
    assert len(tries) == 2


@pytest.fixture
def on_redis(tmp_path: Path, redis_server: RedisServer) -> Callable[..., PipelineProcesses]:
    """Return how to make a home whose online store is a Redis server that may be killed."""

    def make(**settings: str) -> PipelineProcesses:
        made = PipelineProcesses(
            tmp_path / "home", {"FTI_ONLINE_STORE": redis_server.address, **settings}
        )
        made.places = replace(made.places, online_store=redis_server.address)
        return made

    return make


def test_worker_waits_for_a_redis_that_is_away(
    on_redis: Callable[..., PipelineProcesses], redis_server: RedisServer
) -> None:
    """Killed under the worker and started again, Redis ends with every key's last row."""
    pipeline = on_redis()
    with pipeline.running("stream") as worker:
        pipeline.append(0, 30)
        until(lambda: pipeline.written("mention_text").height == 30, "the first write")
        redis_server.kill()
        pipeline.append(30, 60)
        until(lambda: "the feature store is away" in pipeline.printed(), "the worker to notice")
        redis_server.start()
        until(pipeline.settles, "the features to settle")
    assert worker.exitcode == 0, pipeline.printed()
    pipeline.assert_complete()


def test_worker_that_waited_long_enough_stops_and_loses_nothing(
    on_redis: Callable[..., PipelineProcesses], redis_server: RedisServer
) -> None:
    """With Redis away for longer than it may be, the worker exits with 1; the next one goes on."""
    pipeline = on_redis(FTI_FEATURES_OUTAGE_SECONDS="1")
    worker = pipeline.start("stream")
    pipeline.append(0, 30)
    until(lambda: pipeline.written("mention_text").height == 30, "the first write")
    redis_server.kill()
    pipeline.append(30, 60)
    worker.join(60)
    assert worker.exitcode == 1, pipeline.printed()
    assert "expected a store that is back within 1 s" in pipeline.printed()
    redis_server.start()
    with pipeline.running("stream"):
        until(pipeline.settles, "the features to settle")
    pipeline.assert_complete()
