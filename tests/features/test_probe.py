"""The stream worker's probe: truthful about progress, with figures for Prometheus."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
from fastapi.testclient import TestClient

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.stream import stream
from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.probe import Probe, create_probe
from shared.errors import SettingsError, StateError
from shared.events import Mention
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT
from tests.features.conftest import START, TurnableClock
from tests.features.stream_process import answers, free_port, stream_worker, until
from tests.redis_server import RedisServer

STALL, EPOCH = timedelta(seconds=30), timedelta(seconds=5)


class Worker:
    """A worker's metrics and log on a clock that the test turns, behind a probe."""

    def __init__(self, clock: TurnableClock) -> None:
        self.clock = clock
        self.log = MemoryEventLog(partitions=1, clock=clock)
        self.metrics = StreamMetrics(clock, self.seconds)
        self.client = TestClient(create_probe(self.metrics, self.log, stall=STALL, epoch=EPOCH))

    def seconds(self) -> float:
        return self.clock.now.timestamp()

    def post(self, number: int) -> None:
        self.log.append([mention(number)])

    def not_ready_because(self) -> list[str]:
        answer = self.client.get("/readyz")
        body = answer.json()
        assert answer.status_code == (503 if body["reasons"] else 200)
        assert body["ready"] is not bool(body["reasons"])
        reasons: list[str] = body["reasons"]
        return reasons

    def figure(self, name: str) -> float:
        return figure(self.client.get("/metrics").text, name)


def figure(page: str, name: str) -> float:
    """Return a figure of Prometheus's text format."""
    return next(
        float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name)
    )


def mention(number: int) -> Mention:
    return Mention(
        mention_id=f"m{number}",
        subject_id="heat",
        source_id="critic",
        text="text",
        published_at=START,
    )


@pytest.fixture
def worker(clock: TurnableClock) -> Worker:
    return Worker(clock)


def test_not_ready_before_the_dataflow_turns(worker: Worker) -> None:
    """A worker that still opens its store is alive, but not ready."""
    assert worker.client.get("/healthz").json() == {"status": "ok"}
    assert worker.not_ready_because() == ["the dataflow has not started yet"]
    worker.metrics.turned()
    assert worker.not_ready_because() == []


def test_dataflow_that_stands_still_is_not_ready(worker: Worker) -> None:
    """A write that hangs keeps the dataflow from asking for more, and readiness tells of it."""
    worker.metrics.turned()
    worker.clock.turn(seconds=31)
    assert worker.not_ready_because() == ["the dataflow stands still since 31 s"]


def test_idle_worker_is_ready_and_one_whose_backlog_stays_is_not(worker: Worker) -> None:
    """Without events nothing needs saving; with events that wait, no saved state is a failure."""
    worker.metrics.turned()
    worker.metrics.saved()
    worker.clock.turn(seconds=36)
    worker.metrics.turned()
    assert worker.not_ready_because() == []
    worker.post(1)
    assert worker.not_ready_because() == ["1 log entries wait; no state was saved for 36 s"]
    worker.metrics.saved()
    assert worker.not_ready_because() == []


def test_log_that_does_not_answer_is_told(redis_server: RedisServer) -> None:
    """Without its log a worker is not ready, and its metrics still come."""
    with closing(RedisEventLog(redis_server.address, "films", partitions=1)) as log:
        metrics = StreamMetrics()
        metrics.turned()
        client = TestClient(create_probe(metrics, log, stall=STALL, epoch=EPOCH))
        assert client.get("/readyz").json() == {"ready": True, "reasons": []}
        redis_server.kill()
        assert client.get("/readyz").json()["reasons"] == ["the event log does not answer"]
        assert "fti_features_log_lag_entries NaN" in client.get("/metrics").text


def test_metrics_tell_lag_freshness_and_rows(worker: Worker) -> None:
    """What was written shows as rows, time behind the present, and freshness of each fact."""
    worker.post(1)
    moments = [START, START + timedelta(seconds=8)]
    tables = {
        MENTION_TEXT: pl.DataFrame({KNOWN_AT: moments}, schema={KNOWN_AT: MOMENT}),
        MENTION_LABEL: pl.DataFrame(schema={KNOWN_AT: MOMENT}),
    }
    worker.clock.turn(seconds=10)
    worker.metrics.wrote("offline", MENTION_TEXT, 2)
    worker.metrics.readable(0, tables, START + timedelta(seconds=9))
    assert worker.figure("fti_features_log_lag_entries") == 1
    assert worker.figure("fti_features_log_lag_seconds") == 1
    assert worker.figure('fti_features_freshness_seconds_bucket{le="2.5"}') == 1
    assert worker.figure('fti_features_freshness_seconds_bucket{le="10.0"}') == 2
    assert worker.figure("fti_features_rows_written_total{") == 2


def test_lag_counts_before_anything_shows(worker: Worker) -> None:
    """From the moment at which a worker has a partition it is behind, if it writes nothing."""
    worker.clock.turn(seconds=100)
    assert worker.figure("fti_features_log_lag_seconds") == 0
    worker.metrics.took_up()
    worker.clock.turn(seconds=100)
    worker.metrics.took_up()
    worker.clock.turn(seconds=100)
    assert worker.figure("fti_features_log_lag_seconds") == 200


def test_failed_write_is_counted_and_raised(worker: Worker) -> None:
    """A write that fails counts as a failure, not as a duration."""
    with pytest.raises(OSError, match="away"), worker.metrics.writing("online"):
        raise OSError("away")
    assert worker.figure("fti_features_write_failures_total{") == 1
    assert "fti_features_write_seconds_count" not in worker.client.get("/metrics").text


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_taken_port_is_refused_with_the_setting(worker: Worker, taken: int) -> None:
    """A second worker on the same port stops, and learns which setting is meant."""
    app = create_probe(StreamMetrics(), worker.log, stall=STALL, epoch=EPOCH)
    with (
        pytest.raises(StateError, match="FTI_FEATURES_STREAM_PORT"),
        Probe(app, "127.0.0.1", taken),
    ):
        pass


def test_worker_process_tells_of_its_work(tmp_path: Path) -> None:
    """The real worker is ready once it turns, counts what it wrote, and has no backlog then."""
    home, port = tmp_path / "home", free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        closing(SqliteEventLog(home / "features" / "log.db")) as log,
        stream_worker(home, FTI_FEATURES_STREAM_PORT=str(port)),
    ):
        until(lambda: answers(f"{url}/readyz"), "the worker to be ready")
        log.append([mention(number) for number in range(3)])

        def now(name: str) -> float:
            return figure(httpx.get(f"{url}/metrics").text, f"fti_features_{name}")

        until(lambda: now("freshness_seconds_count") == 3, "features to be online")
        until(lambda: now("log_lag_entries") == 0, "the state to be saved")
        assert now("batch_entries_count") > 0
        assert answers(f"{url}/readyz")


def test_open_gateway_does_not_open_the_probe(tmp_path: Path) -> None:
    """Beyond this machine the probe listens by a setting of its own alone."""
    task = tmp_path / "task.toml"
    task.write_text(
        'name = "films"\nlabels = ["bad", "good"]\n[input]\nformat = "csv"\n'
        'columns = { text = "text", published_at = "date" }\n'
        '[activity.windows]\n"60s" = "10s"\n[training]\nbase = "none"\n'
    )
    settings = FeatureSettings(
        home=tmp_path / "home",
        task=task,
        features_open=True,
        features_stream_host="0.0.0.0",  # noqa: S104 - that it is refused
        features_stream_port=free_port(),
    )
    with pytest.raises(SettingsError, match="FTI_FEATURES_STREAM_OPEN=true"):
        stream(FeaturePipeline(settings))
