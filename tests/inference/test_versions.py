"""Which version serves: none yet, a new one, a refused one, and many under load."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from inference_pipeline.features.reader import InMemoryFeatureReader
from shared.feature_store import FeatureService
from shared.features import ServedFeature
from tests.inference.conftest import eventually, metric, ready, running
from tests.inference.registry_files import Publisher
from tests.inference.test_predict import softmax
from tests.inference.tiny_model import TinyModel

REFUSED = 'fti_inference_refused_versions_total{model="tiny"}'


def test_without_a_champion_it_says_what_is_missing(app: FastAPI, publisher: Publisher) -> None:
    """The server starts, tells that it cannot answer, and picks the champion up when it comes."""
    with running(app) as client:
        assert client.get("/healthz").status_code == 200
        assert f"{REFUSED} 0.0" in client.get("/metrics").text
        waiting = eventually(
            lambda: client.get("/readyz"),
            lambda answer: answer.json()["reasons"][0]["found"] == "none",
        )
        assert waiting.status_code == 503
        assert "alias champion" in waiting.json()["reasons"][0]["expected"]
        refused = client.post("/v1/predict", json={"text": "good"})
        assert refused.status_code == 503
        assert "alias champion" in refused.json()["error"]["expected"]
        publisher.publish(TinyModel())
        answer = ready(client, "1")
        assert answer.status_code == 200
        assert answer.json()["reasons"] == answer.json()["warnings"] == []
        assert client.post("/v1/predict", json={"text": "good"}).status_code == 200


Make = Callable[[Path, FeatureService], Path]


def damaged(folder: Path, service: FeatureService) -> Path:
    """A version whose ONNX file changed after it was made."""
    files = TinyModel(bias=1).write(folder / "damaged", service)
    with (files / "model.onnx").open("ab") as file:
        file.write(b"\0")
    return files


def other_answer(folder: Path, service: FeatureService) -> Path:
    """A version that does not give its golden answer."""
    return TinyModel(bias=1, golden_error=0.5).write(folder / "golden", service)


def other_features(folder: Path, service: FeatureService) -> Path:
    """A version that was trained on other features."""
    return TinyModel(bias=1, feature_hash="0" * 64).write(folder / "features", service)


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (damaged, "tiny version 2/model.onnx"),
        (other_answer, "tiny version 2, golden input"),
        (other_features, "feature service tiny"),
    ],
)
def test_a_version_that_fails_a_check_is_refused(  # noqa: PLR0917 - pytest passes by name
    app: FastAPI,
    publisher: Publisher,
    feature_service: FeatureService,
    tmp_path: Path,
    make: Make,
    place: str,
) -> None:
    """The old version goes on serving, the reason is shown, and one try is enough."""
    first = publisher.publish(TinyModel())
    with running(app) as client:
        ready(client, first)
        publisher.crown(publisher.register_files(make(tmp_path, feature_service)))
        answer = eventually(lambda: client.get("/readyz"), lambda answer: answer.json()["warnings"])
        assert answer.status_code == 200
        assert answer.json()["model"]["version"] == first
        assert answer.json()["warnings"][0]["place"] == place
        assert str(tmp_path) not in answer.text
        asked = client.post("/v1/predict", json={"text": "good"})
        assert asked.json()["model"]["version"] == first
        # A third version comes through, many polls after the second was refused.
        publisher.publish(TinyModel(bias=2))
        assert ready(client, "3").json()["warnings"] == []
        assert metric(client, REFUSED) == 1


def test_without_an_older_version_a_refusal_is_the_reason(
    app: FastAPI, publisher: Publisher, feature_service: FeatureService, tmp_path: Path
) -> None:
    """A server whose only version is refused is not ready and says why."""
    publisher.crown(publisher.register_files(other_answer(tmp_path, feature_service)))
    with running(app) as client:
        answer = eventually(
            lambda: client.post("/v1/predict", json={"text": "good"}),
            lambda answer: "golden" in answer.text,
        )
        assert answer.status_code == 503
        assert client.get("/readyz").json()["reasons"][0]["place"] == "tiny version 1, golden input"


def test_a_refused_version_serves_when_the_store_has_its_features(
    app: FastAPI,
    publisher: Publisher,
    reader: InMemoryFeatureReader,
    feature_service: FeatureService,
) -> None:
    """A version that came before its features is tried again when the feature service changes."""
    wider = FeatureService(
        name=feature_service.name,
        features=(
            *feature_service.features,
            ServedFeature(view="subject_activity", name="mentions_7d", dtype="Int64"),
        ),
        ttl=feature_service.ttl,
        join_keys=feature_service.join_keys,
    )
    ahead = Publisher(publisher.home, wider)
    with running(app) as client:
        ahead.publish(TinyModel())
        eventually(lambda: metric(client, REFUSED), lambda count: count == 1)
        reader.register(wider)
        ready(client, "1")
        assert metric(client, REFUSED) == 1


def test_an_alias_that_goes_away_changes_nothing(app: FastAPI, publisher: Publisher) -> None:
    """Without an alias the version in service stays, and a warning tells."""
    version = publisher.publish(TinyModel())
    with running(app) as client:
        ready(client, version)
        publisher.client.delete_registered_model_alias("tiny", "champion")
        answer = eventually(lambda: client.get("/readyz"), lambda answer: answer.json()["warnings"])
        assert answer.status_code == 200
        assert client.post("/v1/predict", json={"text": "good"}).status_code == 200


def test_swaps_under_load_fail_no_request(app: FastAPI, publisher: Publisher) -> None:
    """Thirty swaps, four clients without a pause: each answer is whole and from a real version."""
    models = {publisher.register(model): model for model in map(TinyModel, (0.0, 1.0, 2.0))}
    wanted = {
        version: softmax(model.logits(["late", "flight"], [])) for version, model in models.items()
    }
    publisher.crown("1")
    answers: list[httpx.Response | httpx.HTTPError] = []
    done = threading.Event()

    def ask_on(url: httpx.URL) -> None:
        with httpx.Client(base_url=url) as client:
            while not done.is_set():
                try:
                    answers.append(client.post("/v1/predict", json={"text": "late flight"}))
                except httpx.HTTPError as error:
                    answers.append(error)

    with running(app) as client:
        ready(client, "1")
        clients = [threading.Thread(target=ask_on, args=(client.base_url,)) for _ in range(4)]
        for thread in clients:
            thread.start()
        for swap in range(30):
            version = str((swap + 1) % 3 + 1)
            publisher.crown(version)
            ready(client, version)
        done.set()
        for thread in clients:
            thread.join()
        assert metric(client, 'fti_inference_model_swaps_total{model="tiny"}') == 31

    assert len(answers) > 100
    served = set()
    for answer in answers:
        assert isinstance(answer, httpx.Response), answer
        assert answer.status_code == 200, answer.text
        version = answer.json()["model"]["version"]
        (prediction,) = answer.json()["predictions"]
        assert prediction["probabilities"] == pytest.approx(wanted[version], rel=1e-4)
        served.add(version)
    assert served == set(wanted)
