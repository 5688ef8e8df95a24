"""The prediction log in the server: its settings, and what SIGTERM leaves behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.prediction_log.table import InMemoryPredictionTable, PredictionTable
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import InMemoryRegistry
from shared.feature_store import FeatureService, read_feature_service
from shared.manifest import CHAMPION
from shared.predictions import PREDICTION_LOG
from shared.text import fingerprint
from tests.inference.answers_to_log import Unsteady
from tests.inference.conftest import eventually, metric, ready, running
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.server_process import serving
from tests.inference.task_store import open_task_store, written
from tests.inference.tiny_model import TinyModel


@pytest.mark.timeout(120)
def test_a_server_that_ends_has_logged_its_answers(home: Path) -> None:
    """SIGTERM writes what waits: no answer that a client got is missing in the feature store."""
    service = read_feature_service(open_task_store(home), MODEL)
    Publisher(home, service).publish(TinyModel())
    with serving(home) as server:
        ready(server.client, "1")
        for number in range(20):
            mentions = {"mentions": [{"text": f"late flight {number}"}, {"text": "good"}]}
            server.client.post("/v1/predict", json=mentions).raise_for_status()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0, server.log
    rows = written(home, PREDICTION_LOG)
    assert rows["prediction_id"].is_unique().all()
    asked = [text for n in range(20) for text in (f"late flight {n}", "good")]
    assert sorted(rows["text"]) == sorted(asked)


@contextmanager
def logging_to(
    table: PredictionTable, settings: InferenceSettings, service: FeatureService
) -> Iterator[httpx.Client]:
    """Serve a tiny version whose answers go to a table, and give a client of it."""
    registry = InMemoryRegistry()
    registry.point(
        CHAMPION, registry.register(MODEL, TinyModel().write(settings.home / "made", service))
    )
    app = assemble(
        settings, registry=registry, reader=InMemoryFeatureReader(service), predictions=table
    )
    with running(app) as client:
        ready(client, "1")
        yield client


@pytest.mark.parametrize(("kept", "text"), [("full", "Late flight"), ("hashed", None)])
def test_texts_may_be_left_out(
    settings: InferenceSettings, feature_service: FeatureService, kept: str, text: str | None
) -> None:
    """Hashed, neither the store nor this machine's disk keeps a text; its fingerprint stays."""
    table = InMemoryPredictionTable()
    unsteady = Unsteady(table)
    unsteady.up = False
    changed = settings.model_copy(update={"inference_prediction_log": kept})
    with logging_to(unsteady, changed, feature_service) as client:
        client.post("/v1/predict", json={"text": "Late flight"}).raise_for_status()
        (file,) = eventually(lambda: list(settings.home.rglob("*.arrow")), bool)
        spooled = file.read_bytes()
        unsteady.up = True
    (row,) = [row for rows in table.commits for row in rows.to_pylist()]
    assert row["text"] == text
    assert row["fingerprint"] == fingerprint("Late flight")
    assert (b"Late flight" in spooled) is (kept == "full")


def test_the_log_may_be_off(settings: InferenceSettings, feature_service: FeatureService) -> None:
    """Then nothing is written, not even on the way."""
    table = InMemoryPredictionTable()
    off = settings.model_copy(update={"inference_prediction_log": "off"})
    with logging_to(table, off, feature_service) as client:
        client.post("/v1/predict", json={"text": "good"}).raise_for_status()
    assert table.commits == []
    assert not (settings.home / "inference" / "prediction_log").exists()


def test_its_limits_are_settings(
    settings: InferenceSettings, feature_service: FeatureService
) -> None:
    """A request with more mentions than the buffer may hold is in no log, and is counted."""
    table = InMemoryPredictionTable()
    small = settings.model_copy(update={"inference_log_buffer_rows": 1})
    with logging_to(table, small, feature_service) as client:
        two = {"mentions": [{"text": "good"}, {"text": "bad"}]}
        client.post("/v1/predict", json=two).raise_for_status()
        client.post("/v1/predict", json={"text": "late"}).raise_for_status()
        assert metric(client, "fti_inference_prediction_log_dropped_total") == 2
    assert [text for rows in table.commits for text in rows["text"].to_pylist()] == ["late"]
