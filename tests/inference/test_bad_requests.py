"""What a request must not be: each mistake gets its status and the error's one shape."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from inference_pipeline.api.schemas import MentionsToPredict
from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import MlflowRegistry
from shared.feature_store import FeatureService
from shared.model_registry import tracking_uri
from shared.places import Places
from shared.text import MAX_TEXT_CHARS
from tests.inference.conftest import eventually, metric, ready, running
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
        registry=MlflowRegistry(tracking_uri(Places.embedded(home))),
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
    ({"text": "\ud800"}, "body", "JSON"),
    ({}, "text", "a value"),
    ({"text": "good", "subject_id": ""}, "subject_id", "at least 1 character"),
    ({"text": "good", "source_id": 7}, "source_id", "a valid string"),
    ({"text": "good", "subjectid": "x"}, "subjectid", "the fields text, subject_id, source_id"),
    ({"text": "good", "mentions": [{"text": "good"}]}, "text", "or the field mentions alone"),
    ({"mentions": []}, "mentions", "at least 1 item"),
    ({"mentions": {"text": "good"}}, "mentions", "a valid array"),
    ({"mentions": [{"text": "good"}] * 65}, "mentions", "at most 64 items"),
    ({"mentions": [{"text": " "}, {"text": "\t"}]}, "mentions[0].text", "something to read"),
    ({"mentions": [{"text": "good"}, {"txt": "b"}]}, "mentions[1].text", "a value"),
    ({"mentions": ["good"]}, "mentions[0]", "an object"),
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
        (b'{"text": ', "application/json", 422, "body"),
        (b"", "application/json", 422, "body"),
        (b'{"text": "\xff"}', "application/json", 422, "body"),
        (b"[" * 200_000, "application/json", 422, "body"),
        (b'{"text": "good"}', "text/plain", 415, "header Content-Type"),
        (b'{"text": "good"}', "", 415, "header Content-Type"),
    ],
    ids=["broken", "no body", "not UTF-8", "nested without end", "of another type", "of no type"],
)
def test_what_is_no_json_is_refused(
    client: httpx.Client, content: bytes, content_type: str, status: int, place: str
) -> None:
    """Bytes that are no JSON object get an answer in the same shape."""
    answer = client.post("/v1/predict", content=content, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["place"] == place


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"],
)
def test_json_may_be_sent_under_its_other_names(client: httpx.Client, content_type: str) -> None:
    """A charset, upper case and the types that build on JSON are read as JSON."""
    headers = {"content-type": content_type}
    answer = client.post("/v1/predict", content=b'{"text": "good"}', headers=headers)
    assert answer.status_code == 200, answer.text


LONG = "x" * 201


@pytest.mark.parametrize(
    ("query", "headers", "place", "expected"),
    [
        ("model=", {}, "model", "at least 1 character"),
        (f"version={LONG}", {}, "version", "at most 200 characters"),
        (f"key={LONG}", {}, "key", "at most 200 characters"),
        ("timeout_seconds=0", {}, "timeout_seconds", "greater than 0"),
        ("timeout_seconds=3601", {}, "timeout_seconds", "less than or equal to 3600"),
        ("timeout_seconds=nan", {}, "timeout_seconds", "less than or equal to 3600"),
        ("timeout_seconds=soon", {}, "timeout_seconds", "a valid number"),
        ("", {"x-request-id": LONG}, "x-request-id", "at most 200 characters"),
    ],
)
def test_bad_parameters_are_named(
    client: httpx.Client, query: str, headers: dict[str, str], place: str, expected: str
) -> None:
    """A parameter or a header that does not fit is 422 with its name."""
    answer = client.post(f"/v1/predict?{query}", json={"text": "good"}, headers=headers)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["place"] == place
    assert expected in error["expected"]


def test_unknown_parameters_are_refused(client: httpx.Client) -> None:
    """A misspelt deadline must not go unnoticed; the answer lists what there is."""
    answer = client.post("/v1/predict?model=tiny&timeout=1", json={"text": "good"})
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "place": "query",
        "expected": "no parameter but model, version, key, timeout_seconds",
        "found": "'timeout'",
        "remedy": "",
    }


def test_of_a_parameter_given_twice_the_last_counts(client: httpx.Client) -> None:
    """As the most common readers of queries have it."""
    query = "model=nosuch&model=tiny"
    assert client.post(f"/v1/predict?{query}", json={"text": "good"}).status_code == 200


def test_a_long_list_of_mistakes_is_told_by_its_first(client: httpx.Client) -> None:
    """Nothing is looked for beyond it: a body of mistakes is as cheap as one of one."""
    with pytest.raises(ValidationError) as caught:
        MentionsToPredict.model_validate({"mentions": [0] * 100})
    assert caught.value.error_count() == 1
    answer = client.post("/v1/predict", json={"mentions": [0] * 100_000})
    assert (answer.status_code, answer.json()["error"]["place"]) == (422, "mentions[0]")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/predict", "/v1/predict"),
        (f"/v2/models/{MODEL}/infer", "/v2/models/{model_name}/infer"),
    ],
)
def test_who_leaves_within_the_body_is_no_fault_of_the_server(
    client: httpx.Client, path: str, route: str
) -> None:
    """Half a request counts as 499, as nginx has it, not as 500."""
    gone = f'fti_inference_requests_total{{method="POST",route="{route}",status="499"}}'
    before = metric(client, gone)
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
            + b'Content-Length: 100\r\n\r\n{"text":'
        )
    eventually(lambda: metric(client, gone), lambda found: found == before + 1)


def test_unknown_paths_are_404(client: httpx.Client) -> None:
    """What is not there is told in the error's one shape."""
    lost = client.get("/v1/nothing")
    assert (lost.status_code, lost.json()["error"]["place"]) == (404, "/v1/nothing")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_other_methods_are_405(client: httpx.Client, method: str) -> None:
    """The answer names the one that there is; only HEAD has no body to say so in."""
    wrong = client.request(method, "/v1/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert wrong.json()["error"]["expected"] == "method POST"


def test_a_slash_too_many_leads_to_the_route(client: httpx.Client) -> None:
    """A client that follows redirects gets its answer."""
    answer = client.post("/v1/predict/", json={"text": "good"}, follow_redirects=True)
    assert answer.status_code == 200
    assert [step.status_code for step in answer.history] == [307]


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
