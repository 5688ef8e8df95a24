"""What a request must not be: each mistake gets its status and the error's one shape."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import MlflowRegistry
from shared.feature_store import FeatureService
from shared.model_registry import tracking_uri
from shared.text import MAX_TEXT_CHARS
from tests.inference.conftest import ready, running
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.tiny_model import TinyModel


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory,
    empty_registry: Path,
    feature_service: FeatureService,
) -> Iterator[httpx.Client]:
    """A client of one server for all mistakes: none of them may harm the next."""
    home = tmp_path_factory.mktemp("bad") / "home"
    shutil.copytree(empty_registry, home)
    version = Publisher(home, feature_service).publish(TinyModel())
    app = assemble(
        InferenceSettings(home=home, inference_model=MODEL),
        registry=MlflowRegistry(tracking_uri(home)),
        reader=InMemoryFeatureReader(feature_service),
    )
    with running(app) as client:
        ready(client, version)
        yield client


BAD = [
    ({"text": ""}, "text", "at least 1 character"),
    ({"text": " \t\u0000"}, "text", "something to read"),
    ({"text": "x" * (MAX_TEXT_CHARS + 1)}, "text", f"at most {MAX_TEXT_CHARS} characters"),
    ({"text": 5}, "text", "a valid string"),
    ({"text": None}, "text", "a valid string"),
    ({"text": "\ud800"}, "text", "a valid string"),
    ({}, "text", "a value"),
    ({"text": "good", "subject_id": ""}, "subject_id", "at least 1 character"),
    ({"text": "good", "source_id": 7}, "source_id", "a valid string"),
    ({"text": "good", "subjectid": "x"}, "subjectid", "the fields text, subject_id, source_id"),
    ({"text": "good", "mentions": [{"text": "good"}]}, "text", "or the field mentions alone"),
    ({"mentions": []}, "mentions", "at least 1 item"),
    ({"mentions": {"text": "good"}}, "mentions", "a valid list"),
    ({"mentions": [{"text": "good"}] * 65}, "mentions", "at most 64 items"),
    ({"mentions": [{"text": " "}, {"text": "\t"}]}, "mentions[0].text", "something to read"),
    ({"mentions": [{"text": "good"}, {"txt": "b"}]}, "mentions[1].text", "a value"),
    ({"mentions": ["good"]}, "mentions[0]", "a valid dictionary"),
    (["good"], "body", "an object with the field text"),
]


@pytest.mark.parametrize(("body", "place", "expected"), BAD)
def test_bad_input_is_named(client: httpx.Client, body: object, place: str, expected: str) -> None:
    """Each mistake gets 422 with the place, what was expected and what came."""
    answer = client.post(
        "/v1/predict", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert set(error) == {"place", "expected", "found", "remedy"}
    assert error["place"] == place
    assert expected in error["expected"]
    assert 0 < len(error["found"]) < 200


@pytest.mark.parametrize(
    ("content", "content_type", "status", "place"),
    [
        (b'{"text": ', "application/json", 422, "body, character"),
        (b"", "application/json", 422, "body"),
        (b'{"text": "\xff"}', "application/json", 400, "body"),
        (b"[" * 200_000, "application/json", 400, "body"),
        (b'{"text": "good"}', "text/plain", 415, "header Content-Type"),
    ],
    ids=["broken JSON", "no body", "not UTF-8", "nested without end", "not sent as JSON"],
)
def test_what_is_no_json_is_refused(
    client: httpx.Client, content: bytes, content_type: str, status: int, place: str
) -> None:
    """Bytes that are no JSON object get an answer in the same shape."""
    answer = client.post("/v1/predict", content=content, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["place"].startswith(place)


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    """404 and 405 have the error's shape, and 405 names the method."""
    lost = client.get("/v1/nothing")
    assert (lost.status_code, lost.json()["error"]["place"]) == (404, "/v1/nothing")
    wrong = client.get("/v1/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["expected"] == "method POST"


@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "in chunks"])
def test_a_large_body_is_not_read(client: httpx.Client, announced: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """More bytes than allowed get 413, whether the header tells or not."""
    megabyte = b"x" * 1_000_001
    content = (
        megabyte if announced else (megabyte[at : at + 9_999] for at in range(0, 10**6, 9_999))
    )
    answer = client.post(
        "/v1/predict", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["expected"] == "at most 1000000 bytes"
    assert client.post("/v1/predict", json={"text": "good"}).status_code == 200
