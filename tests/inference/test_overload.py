"""Over HTTP: clients that leave, servers that have too much to do, and time that runs out."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from inference_pipeline.api.app import create_app
from inference_pipeline.api.predict import prediction_routes
from inference_pipeline.engine.engine import Capacity, Engine
from inference_pipeline.features.join import FeatureJoin
from inference_pipeline.features.reader import Floats, InMemoryFeatureReader
from inference_pipeline.metrics import Metrics
from inference_pipeline.versions.loading import load_model
from inference_pipeline.versions.model import Encoding, LoadedModel
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.served import ServedVersion
from shared.feature_store import FeatureService
from tests.inference.conftest import eventually, running
from tests.inference.test_engine import Lent, Notes
from tests.inference.tiny_model import TinyModel


class HeldModel(LoadedModel):
    """A model that answers when it is let go."""

    go: threading.Event
    pause: float
    """Seconds that a batch takes then."""
    rows: int

    @classmethod
    def of(cls, model: LoadedModel) -> HeldModel:
        """Return a model that is held."""
        held = cls.__new__(cls)
        held.__dict__.update(model.__dict__, go=threading.Event(), pause=0.0, rows=0)
        return held

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Wait, then answer."""
        self.go.wait()
        time.sleep(self.pause)
        self.rows += len(encodings)
        return super().scores(encodings, features, alone=alone)


@pytest.fixture
def held(tmp_path: Path, feature_service: FeatureService) -> Iterator[HeldModel]:
    """A sound model that is held."""
    model = HeldModel.of(load_model(TinyModel().write(tmp_path / "1", feature_service)))
    yield model
    model.go.set()


@contextmanager
def serving(
    held: HeldModel, service: FeatureService, *, seconds: float
) -> Iterator[tuple[httpx.Client, Callable[[str], float]]]:
    """A server with one thread; a client of it, and how to read a metric."""
    metrics = Metrics()
    version = ModelVersion("tiny", "1", created=1)
    served = ServedVersion(version, "champion", held, service, datetime.now(UTC))
    join = FeatureJoin(
        InMemoryFeatureReader(service), timeout=timedelta(seconds=5), metrics=metrics.features
    )
    engine = Engine(
        Lent(served),
        join,
        capacity=Capacity(
            threads=1, token_budget=1, timeout=timedelta(seconds=seconds), shadow_requests=1
        ),
        metrics=metrics.engine,
        log=Notes(),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        held.go.set()
        await engine.close()
        await asyncio.to_thread(join.close)

    def value(line: str) -> float:
        for found in metrics.render().decode().splitlines():
            if found.startswith(f"{line} "):
                return float(found.removeprefix(f"{line} "))
        return 0.0

    app = create_app(
        prediction_routes(engine, max_batch=64),
        lifespan=lifespan,
        metrics=metrics,
        max_body_bytes=100_000,
        check_capacity=engine.check_capacity,
    )
    with running(app) as client:
        yield client, value


def leave_after_asking(client: httpx.Client) -> None:
    """Send a request and close the connection before the answer."""
    body = b'{"text": "good"}'
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )


@contextmanager
def asking(client: httpx.Client, body: object) -> Iterator[None]:
    """Ask in a thread, and have the answer in the end."""
    thread = threading.Thread(target=lambda: client.post("/v1/predict", json=body))
    thread.start()
    yield
    thread.join()


def test_who_leaves_is_not_computed_for(held: HeldModel, feature_service: FeatureService) -> None:
    """A client that closes its connection leaves the queue; others are answered."""
    with serving(held, feature_service, seconds=20) as (client, value):
        in_flight = "fti_inference_requests_in_flight"
        cancelled = "fti_inference_cancelled_requests_total"
        with asking(client, {"text": "bad"}):
            eventually(lambda: value(in_flight), lambda found: found == 1)
            leave_after_asking(client)
            eventually(lambda: value(cancelled), lambda found: found == 1)
            assert value(in_flight) == 1
            held.go.set()
        assert client.post("/v1/predict", json={"text": "good"}).status_code == 200
    assert held.rows == 2


def test_time_that_runs_out_is_504(held: HeldModel, feature_service: FeatureService) -> None:
    """A request that was taken and not answered in time is told so, in the error's one shape."""
    with serving(held, feature_service, seconds=0.05) as (client, value):
        answer = client.post("/v1/predict", json={"text": "good"})
        assert answer.status_code == 504
        # What was left of it when the request came to the queue.
        expected = answer.json()["error"]["expected"]
        assert re.fullmatch(r"an answer within 0\.0\d\d s", expected)
        assert value("fti_inference_expired_requests_total") == 1


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/tiny/infer"])
def test_too_much_to_do_is_429_at_the_door(
    held: HeldModel, feature_service: FeatureService, path: str
) -> None:
    """Behind a queue that is too long a request is refused unread, in the shape of its face."""
    held.go.set()
    held.pause = 0.05
    with serving(held, feature_service, seconds=2) as (client, value):
        # One token takes 0.05 s from now on; thirty keep the only thread busy for 1.5 s.
        client.post("/v1/predict", json={"text": "good"})
        with asking(client, {"mentions": [{"text": "good"}] * 30}):
            eventually(lambda: value("fti_inference_requests_in_flight"), lambda found: found == 1)
            answer = client.post(path, content=b"not even JSON")
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            error = answer.json()["error"]
            assert "a queue of" in (error if path.startswith("/v2/") else error["found"])
            assert client.get("/openapi.json").status_code == 200
        assert value('fti_inference_refused_requests_total{at="door"}') == 1
        assert client.post("/v1/predict", json={"text": "good"}).status_code == 200
