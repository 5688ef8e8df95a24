"""Predictions over HTTP: answers, bad input, limits, and a feature store that is down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from inference_pipeline.api.schemas import PredictAnswer
from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import MlflowRegistry
from shared.feature_store import FeatureService
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.inference.conftest import metric, ready, running
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.test_join import BrokenReader
from tests.inference.tiny_model import LABELS, Floats, TinyModel


@pytest.fixture
def client(app: FastAPI, publisher: Publisher) -> Iterator[httpx.Client]:
    """A client of a server with version 1 in service."""
    version = publisher.publish(TinyModel())
    with running(app) as client:
        ready(client, version)
        yield client


def softmax(logits: Floats) -> dict[str, float]:
    """Return the probabilities of the labels."""
    exponents = np.exp(logits - logits.max())
    return dict(zip(LABELS, (exponents / exponents.sum()).tolist(), strict=True))


def test_one_text(client: httpx.Client) -> None:
    """A text alone gets a label, probabilities, its subject and source, and the version."""
    answer = client.post("/v1/predict", json={"text": "RT @ann: @united bad flight"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == {
        "name": MODEL,
        "version": "1",
        "alias": "champion",
        "variant": "fp32",
    }
    (prediction,) = body["predictions"]
    assert prediction["label"] == "neutral"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert (prediction["subject_id"], prediction["source_id"]) == ("united", "ann")
    missing = {"status": "missing", "age_seconds": None}
    assert prediction["features"] == {"subject_activity": missing, "source_activity": missing}
    assert prediction["degraded"] is False


def test_features_reach_the_model(client: httpx.Client, reader: InMemoryFeatureReader) -> None:
    """Present features change the answer as the model says, and their age is told."""
    written = datetime.now(UTC) - timedelta(minutes=10)
    reader.put("subject_activity", "apple", written, {"mentions_24h": 8, "share_positive_24h": 0.5})
    (prediction,) = client.post(
        "/v1/predict", json={"text": "late flight", "subject_id": "apple", "source_id": "x"}
    ).json()["predictions"]
    wanted = softmax(TinyModel().logits(["late", "flight"], [8, 0.5]))
    assert prediction["probabilities"] == pytest.approx(wanted, rel=1e-4)
    state = prediction["features"]["subject_activity"]
    assert state["status"] == "present"
    assert 600 <= state["age_seconds"] < 660


def test_stale_features_do_not_reach_the_model(
    client: httpx.Client, reader: InMemoryFeatureReader
) -> None:
    """A row past its ttl is told as stale and counts as missing."""
    written = datetime.now(UTC) - timedelta(hours=3)
    reader.put("subject_activity", "apple", written, {"mentions_24h": 8, "share_positive_24h": 0.5})
    (prediction,) = client.post(
        "/v1/predict", json={"text": "late flight", "subject_id": "apple"}
    ).json()["predictions"]
    assert prediction["features"]["subject_activity"]["status"] == "stale"
    wanted = softmax(TinyModel().logits(["late", "flight"], []))
    assert prediction["probabilities"] == pytest.approx(wanted, rel=1e-4)


def test_many_mentions_keep_their_order(client: httpx.Client) -> None:
    """A batch is answered item by item in its order."""
    texts = ["bad", "great", "flight"]
    body = {"mentions": [{"text": text, "subject_id": text} for text in texts]}
    predictions = client.post("/v1/predict", json=body).json()["predictions"]
    assert [prediction["label"] for prediction in predictions] == [*LABELS[::2], "neutral"]
    assert [prediction["subject_id"] for prediction in predictions] == texts


def test_a_mention_without_a_text_fails_alone(client: httpx.Client) -> None:
    """Its neighbours are answered; in its place stands what is wrong and where."""
    body = {"mentions": [{"text": "bad"}, {"text": " \t"}, {"text": "great"}]}
    answer = client.post("/v1/predict", json=body)
    assert answer.status_code == 200
    first, wrong, last = answer.json()["predictions"]
    assert (first["label"], last["label"]) == (LABELS[0], LABELS[2])
    assert wrong["error"]["place"] == "mentions[1].text"
    assert "something to read" in wrong["error"]["expected"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"model": MODEL}, 200),
        ({"model": MODEL, "version": "1"}, 200),
        ({"version": "7"}, 404),
        ({"model": "nosuch"}, 404),
        ({"timeout_seconds": "0"}, 422),
    ],
)
def test_the_model_and_its_version_can_be_chosen(
    client: httpx.Client, asked: dict[str, str], status: int
) -> None:
    """What this server does not have is 404 in the error's one shape."""
    answer = client.post("/v1/predict", params=asked, json={"text": "good"})
    assert answer.status_code == status, answer.text
    assert ("error" in answer.json()) == (status != 200)


def test_the_answer_is_as_documented(client: httpx.Client) -> None:
    """The JSON that is written by hand is the one of the schema, field by field."""
    body = {"mentions": [{"text": "bad"}, {"text": " "}]}
    answer = client.post("/v1/predict", json=body).json()
    assert PredictAnswer.model_validate(answer, extra="forbid").model_dump() == answer


def test_what_is_read_by_hand_is_documented(client: httpx.Client) -> None:
    """The OpenAPI document tells both forms of the body, the parameters and the header."""
    operation = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]
    body = operation["requestBody"]
    one, many = body["content"]["application/json"]["schema"]["oneOf"]
    assert body["required"] is True
    assert set(one["properties"]) == {"text", "subject_id", "source_id"}
    assert many["properties"]["mentions"]["items"] == one
    told = {(field["in"], field["name"]): field["schema"] for field in operation["parameters"]}
    assert set(told) == {
        *(("query", name) for name in ("model", "version", "key", "timeout_seconds")),
        ("header", "x-request-id"),
    }
    assert not any(field["required"] for field in operation["parameters"])
    assert told["query", "timeout_seconds"]["anyOf"][0]["maximum"] == 3600
    assert "422" in operation["responses"]
    assert "400" not in operation["responses"]


def test_the_text_is_normalised_as_at_ingestion(client: httpx.Client) -> None:
    """Entities and white space are folded before the model reads the text."""
    messy, clean = (
        client.post("/v1/predict", json={"text": text}).json()["predictions"][0]["probabilities"]
        for text in ("great\t\n flight\u0000 &amp;", "great flight &")
    )
    assert messy == clean


def test_requests_are_measured_by_route(client: httpx.Client) -> None:
    """Metrics count by the route's template and status; what clients invent shares one series."""
    client.post("/v1/predict", json={"text": "good"})
    client.post("/v1/predict", json={"text": ""})
    client.get("/a")
    client.get("/b")
    client.delete("/v1/predict")
    requests = "fti_inference_requests_total"
    route = 'method="POST",route="/v1/predict"'
    assert metric(client, f'{requests}{{{route},status="200"}}') == 1
    assert metric(client, f'{requests}{{{route},status="422"}}') == 1
    assert metric(client, f'{requests}{{method="any",route="unknown",status="404"}}') == 2
    assert metric(client, f'{requests}{{method="any",route="/v1/predict",status="405"}}') == 1
    info = f'alias="champion",name="{MODEL}",variant="fp32",version="1"'
    assert metric(client, f"fti_inference_model_info{{{info}}}") == 1


def test_a_store_that_is_down_degrades_the_answer(
    settings: InferenceSettings, publisher: Publisher, feature_service: FeatureService
) -> None:
    """The answer comes anyway, says so, and is the model's answer without features."""
    version = publisher.publish(TinyModel())
    registry = MlflowRegistry(tracking_uri(Places.embedded(settings.home)))
    app = assemble(settings, registry=registry, reader=BrokenReader(feature_service))
    with running(app) as client:
        ready(client, version)
        answer = client.post("/v1/predict", json={"text": "late flight"})
        (prediction,) = answer.json()["predictions"]
        assert prediction["degraded"] is True
        unavailable = {"status": "unavailable", "age_seconds": None}
        assert prediction["features"] == dict.fromkeys(feature_service.ttl, unavailable)
        wanted = softmax(TinyModel().logits(["late", "flight"], []))
        assert prediction["probabilities"] == pytest.approx(wanted, rel=1e-4)
        assert metric(client, "fti_inference_degraded_answers_total") == 1


def test_features_can_be_switched_off(
    settings: InferenceSettings, publisher: Publisher, feature_service: FeatureService
) -> None:
    """The store is left alone, and answers say that they were given without features."""
    version = publisher.publish(TinyModel())
    app = assemble(
        settings.model_copy(update={"inference_features": "off"}),
        registry=MlflowRegistry(tracking_uri(Places.embedded(settings.home))),
        reader=BrokenReader(feature_service),
    )
    with running(app) as client:
        ready(client, version)
        (prediction,) = client.post("/v1/predict", json={"text": "bad"}).json()["predictions"]
        assert prediction["label"] == LABELS[0]
        assert prediction["degraded"] is True
        assert prediction["features"]["subject_activity"]["status"] == "unavailable"
        failures = 'fti_inference_feature_read_failures_total{kind="error"}'
        assert metric(client, failures) == 0
