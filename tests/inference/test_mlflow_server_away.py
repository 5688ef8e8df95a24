"""A server process whose MLflow is a server too: killed under load, away at a restart, back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.feature_store import FeatureService
from tests.inference.conftest import eventually, ready
from tests.inference.http_load import asking
from tests.inference.mlflow_server import MlflowServer
from tests.inference.registry_files import Publisher
from tests.inference.server_process import serving
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

BODY: dict[str, object] = {"text": "late flight"}


@pytest.fixture
def mlflow_server(home: Path) -> Iterator[MlflowServer]:
    """A running MLflow server without a model."""
    server = MlflowServer(home / "mlflow")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def stale(client: httpx.Client) -> bool:
    """Tell whether the server is ready and warns that its registry does not answer."""
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    return any("stale registry" in warning["place"] for warning in answer.json()["warnings"])


def test_an_mlflow_server_may_go_and_come_back(
    home: Path,
    mlflow_server: MlflowServer,
    feature_service: FeatureService,
    store: FeatureStore,  # noqa: ARG001 - registers the task's features under the home
) -> None:
    """Answers go on, a restart serves the last good version from disk, a new one is picked up."""
    publisher = Publisher(home, feature_service, mlflow_server.address)
    first = publisher.publish(TinyModel())
    with serving(home, FTI_MLFLOW_URI=mlflow_server.address) as server:
        ready(server.client, first)
        with asking(server.port, BODY) as load:
            mlflow_server.kill()
            eventually(lambda: stale(server.client), bool)
            answered = len(load.replies)
            eventually(lambda: len(load.replies), lambda count: count > answered + 100)
        load.assert_all_answered()
        assert {reply.version for reply in load.replies} == {first}
        server.process.kill()
    with serving(home, FTI_MLFLOW_URI=mlflow_server.address) as server:
        ready(server.client, first)
        assert stale(server.client)
        with asking(server.port, BODY) as load:
            mlflow_server.start()
            second = publisher.publish(TinyModel(bias=1))
            ready(server.client, second)
            eventually(lambda: load.replies[-1].version, lambda version: version == second)
        load.assert_all_answered()
        eventually(lambda: stale(server.client), lambda found: not found)
