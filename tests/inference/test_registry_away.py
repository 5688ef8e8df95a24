"""A server process whose MLflow goes away, and which is killed and started again without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.inference.conftest import eventually, ready
from tests.inference.registry_files import Publisher
from tests.inference.server_process import serving
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore


def version_that_answers(client: httpx.Client) -> str:
    """Return the number of the version that answers a request."""
    answer = client.post("/v1/predict", json={"text": "late flight"})
    assert answer.status_code == 200, answer.text
    version: str = answer.json()["model"]["version"]
    return version


def stale(client: httpx.Client) -> bool:
    """Tell whether the server is ready and warns that its registry does not answer."""
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    return any("stale registry" in warning["place"] for warning in answer.json()["warnings"])


def test_serving_and_a_restart_need_no_registry(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - registers the task's features under the home
) -> None:
    """The champion answers on, and again after kill -9; a registry that is back is followed."""
    database = home / "mlflow" / "mlflow.db"
    publisher.publish(TinyModel())
    with serving(home) as server:
        client = server.client
        ready(client, "1")
        sound = database.read_bytes()
        database.write_bytes(b"this is no database" * 100)
        eventually(lambda: stale(client), bool)
        assert version_that_answers(client) == "1"
        server.process.kill()
    with serving(home) as server:
        client = server.client
        ready(client, "1")
        assert stale(client)
        assert version_that_answers(client) == "1"
        database.write_bytes(sound)
        publisher.publish(TinyModel(bias=1))
        ready(client, "2")
        assert client.get("/readyz").json()["warnings"] == []
        assert version_that_answers(client) == "2"
