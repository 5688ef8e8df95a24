"""A feature store, a registry and servers on them. Stores are real, on SQLite."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import MlflowRegistry
from shared.feature_store import FeatureService
from shared.features import ServedFeature
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.inference import feast_store
from tests.inference.registry_files import MODEL, Publisher

if TYPE_CHECKING:
    from feast import FeatureStore

T = TypeVar("T")
DEADLINE_SECONDS = 60.0


def eventually(get: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    """Return what ``get`` gives as soon as it is as wanted; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not wanted(found := get()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.01)
    return found


@contextmanager
def running(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an app on a free port, in a thread, and give a client of it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        eventually(lambda: server.started, bool)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_SECONDS) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def ready(client: httpx.Client, version: str) -> httpx.Response:
    """Wait until a version is in service."""
    return eventually(
        lambda: client.get("/readyz"),
        lambda answer: (answer.json()["model"] or {}).get("version") == version,
    )


def metric(client: httpx.Client, line: str) -> float:
    """Return the value of a metric, 0 if it is not there yet."""
    for found in client.get("/metrics").text.splitlines():
        if found.startswith(f"{line} "):
            return float(found.removeprefix(f"{line} "))
    return 0.0


@pytest.fixture(scope="session")
def feature_service() -> FeatureService:
    """What the tiny task's models read."""
    views = ("subject_activity", "source_activity")
    return FeatureService(
        name=feast_store.SERVICE,
        features=tuple(
            ServedFeature(view=view, name=name, dtype=dtype)
            for view in views
            for name, dtype in (("mentions_24h", "Int64"), ("share_positive_24h", "Float64"))
        ),
        ttl={"subject_activity": feast_store.TTL, "source_activity": timedelta(0)},
        join_keys={"subject_activity": "subject_id", "source_activity": "source_id"},
    )


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with MLflow's tables made: making them takes longer than a test."""
    home = tmp_path_factory.mktemp("registry")
    MlflowRegistry(tracking_uri(Places.embedded(home))).aliases(MODEL)
    return home


@pytest.fixture
def home(tmp_path: Path, empty_registry: Path) -> Path:
    """A home of the embedded mode with an empty registry."""
    return Path(shutil.copytree(empty_registry, tmp_path / "home"))


@pytest.fixture
def publisher(home: Path, feature_service: FeatureService) -> Publisher:
    """Registers versions under the home."""
    return Publisher(home, feature_service)


@pytest.fixture
def reader(feature_service: FeatureService) -> InMemoryFeatureReader:
    """A feature store in memory that knows no entity yet."""
    return InMemoryFeatureReader(feature_service)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A real feature store that knows no entity yet."""
    return feast_store.open_store(tmp_path / "home")


@pytest.fixture
def settings(home: Path) -> InferenceSettings:
    """Settings for the tiny model, with an impatient look at the registry."""
    return InferenceSettings(
        home=home, inference_model=MODEL, inference_poll_seconds=0.02, inference_threads=2
    )


@pytest.fixture
def app(settings: InferenceSettings, reader: InMemoryFeatureReader) -> FastAPI:
    """The application on the real registry and the feature store in memory."""
    registry = MlflowRegistry(tracking_uri(Places.embedded(settings.home)))
    return assemble(settings, registry=registry, reader=reader)
