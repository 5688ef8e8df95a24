"""The protocol's own client library, unchanged and with its default settings, gets its answers."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from tritonclient import http as triton
from tritonclient.http import aio as triton_aio
from tritonclient.utils import InferenceServerException

from shared.feature_store import FeatureService
from tests.inference.oip_server import MAX_ROWS, serving
from tests.inference.registry_files import MODEL
from tests.inference.tiny_model import LABELS, TinyModel

TEXTS = ["bad late", "late flight", "great good RT @ann: @united"]
WANTED = ["negative", "negative", "positive"]


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, feature_service: FeatureService
) -> Iterator[httpx.Client]:
    """A plain client of one server for all tests, with version 1 in service."""
    with serving(tmp_path_factory.mktemp("oip"), feature_service) as client:
        yield client


@pytest.fixture(scope="module")
def url(client: httpx.Client) -> str:
    """Where the server listens, as the library wants it."""
    return f"{client.base_url.host}:{client.base_url.port}"


@pytest.fixture
def library(url: str) -> Iterator[triton.InferenceServerClient]:
    """The protocol's client library, with its default settings."""
    with triton.InferenceServerClient(url) as made:
        yield made


def tensor(name: str, values: list[str], *, binary: bool = True) -> triton.InferInput:
    """Return an input of the client library."""
    made = triton.InferInput(name, [len(values)], "BYTES")
    return made.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary)


def strings(array: npt.NDArray[Any]) -> list[str]:
    """Return a BYTES tensor as texts; the library gives bytes for binary data, texts for JSON."""
    return [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]


def check_answer(result: triton.InferResult) -> None:
    """Assert that a result is the answer to TEXTS."""
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"]) == (MODEL, "1")
    assert answer["parameters"] == {"alias": "champion", "variant": "fp32"}
    assert strings(result.as_numpy("LABEL")) == WANTED
    probabilities = result.as_numpy("PROBABILITIES")
    assert probabilities.dtype == np.float32
    for row, text in zip(probabilities, TEXTS, strict=True):
        logits = TinyModel().logits(text.replace("@", " @ ").replace(":", " :").split(), [])
        exponents = np.exp(logits - logits.max())
        np.testing.assert_allclose(row, exponents / exponents.sum(), rtol=1e-4)
    assert strings(result.as_numpy("SUBJECT_ID"))[2] == "united"
    assert strings(result.as_numpy("SOURCE_ID"))[2] == "ann"
    missing = {"status": "missing", "age_seconds": None}
    views = json.loads(strings(result.as_numpy("FEATURES"))[0])
    assert views == {"subject_activity": missing, "source_activity": missing}
    assert result.as_numpy("DEGRADED").tolist() == [False] * 3


def test_the_library_infers_with_its_defaults(library: triton.InferenceServerClient) -> None:
    """Nothing but a model and a tensor is given, and every output comes back, in binary."""
    result = library.infer(MODEL, [tensor("TEXT", TEXTS)])
    check_answer(result)
    assert all("binary_data_size" in o["parameters"] for o in result.get_response()["outputs"])


def test_the_library_infers_asynchronously(url: str) -> None:
    """The library for asyncio gets the same answers, many at a time."""

    async def ask() -> list[triton.InferResult]:
        async with triton_aio.InferenceServerClient(url) as library:
            assert await library.is_server_live()
            assert await library.is_model_ready(MODEL)
            assert (await library.get_model_metadata(MODEL))["name"] == MODEL
            requests = (library.infer(MODEL, [tensor("TEXT", TEXTS)]) for _ in range(20))
            return await asyncio.gather(*requests)

    for result in asyncio.run(ask()):
        check_answer(result)


def test_the_library_infers_in_greenlets(url: str) -> None:
    """The library's own concurrency works: several connections, answers picked up later."""
    with triton.InferenceServerClient(url, concurrency=4) as library:
        handles = [library.async_infer(MODEL, [tensor("TEXT", TEXTS)]) for _ in range(8)]
        for handle in handles:
            check_answer(handle.get_result())


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_may_be_compressed(
    client: httpx.Client, library: triton.InferenceServerClient, algorithm: str
) -> None:
    """Requests are read, and answers written, in both encodings that the library offers."""
    body, json_bytes = library.generate_request_body([tensor("TEXT", TEXTS)])
    headers = {"Inference-Header-Content-Length": str(json_bytes), "Accept-Encoding": algorithm}
    plain = client.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    assert plain.headers["Content-Encoding"] == algorithm
    result = library.infer(
        MODEL,
        [tensor("TEXT", TEXTS)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    check_answer(result)


def test_all_in_json(library: triton.InferenceServerClient) -> None:
    """Tensors stand in the JSON where the client asks for that, and only the outputs asked for."""
    wanted = [
        triton.InferRequestedOutput("PROBABILITIES", binary_data=False),
        triton.InferRequestedOutput("LABEL", binary_data=False),
    ]
    inputs = [
        tensor("TEXT", TEXTS, binary=False),
        tensor("SUBJECT", ["", "apple", ""], binary=False),
        tensor("SOURCE", ["bob", "", ""], binary=False),
    ]
    result = library.infer(MODEL, inputs, outputs=wanted, request_id="r1", model_version="1")
    answer = result.get_response()
    assert answer["id"] == "r1"
    assert [output["name"] for output in answer["outputs"]] == ["PROBABILITIES", "LABEL"]
    assert all("data" in output for output in answer["outputs"])
    assert strings(result.as_numpy("LABEL")) == WANTED


def test_given_subjects_and_sources_count(library: triton.InferenceServerClient) -> None:
    """A given subject or source is kept; where none is given it is read off the text."""
    inputs = [tensor("TEXT", TEXTS), tensor("SUBJECT", ["apple", "", ""])]
    result = library.infer(MODEL, inputs)
    subjects = strings(result.as_numpy("SUBJECT_ID"))
    assert (subjects[0], subjects[2]) == ("apple", "united")


def test_classes_come_instead_of_probabilities(library: triton.InferenceServerClient) -> None:
    """With a class count the likeliest classes come, best first, as value, index and label."""
    wanted = [triton.InferRequestedOutput("PROBABILITIES", class_count=2)]
    result = library.infer(MODEL, [tensor("TEXT", ["great"])], outputs=wanted)
    found = result.as_numpy("PROBABILITIES")
    assert found.shape == (1, 2)
    value, index, label = strings(found)[0].split(":")
    assert (int(index), label) == (LABELS.index("positive"), "positive")
    assert float(value) == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-5)


def test_the_library_learns_what_there_is(library: triton.InferenceServerClient) -> None:
    """Server, model and configuration are told as the library reads them."""
    assert library.is_server_live()
    assert library.is_server_ready()
    assert library.is_model_ready(MODEL)
    assert library.is_model_ready(MODEL, "1")
    assert not library.is_model_ready("nobody")
    assert "binary_tensor_data" in library.get_server_metadata()["extensions"]
    metadata = library.get_model_metadata(MODEL, "1")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"][0] == {"name": "TEXT", "datatype": "BYTES", "shape": [-1]}
    assert {"name": "PROBABILITIES", "datatype": "FP32", "shape": [-1, 3]} in metadata["outputs"]
    config = library.get_model_config(MODEL)
    assert config["input"][1] == {
        "name": "SUBJECT",
        "data_type": "TYPE_STRING",
        "dims": [-1],
        "optional": True,
    }
    index = library.get_model_repository_index()
    assert index == [{"name": MODEL, "version": "1", "state": "READY", "reason": ""}]


def test_a_model_is_taken_out_and_put_back(library: triton.InferenceServerClient) -> None:
    """Unloaded, a model says so everywhere and answers nothing; loaded, it answers again."""
    library.unload_model(MODEL)
    try:
        assert not library.is_model_ready(MODEL)
        assert not library.is_server_ready()
        (entry,) = library.get_model_repository_index()
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "unloaded")
        with pytest.raises(InferenceServerException) as caught:
            library.infer(MODEL, [tensor("TEXT", TEXTS)])
        assert caught.value.status() == "503"
    finally:
        library.load_model(MODEL)
    check_answer(library.infer(MODEL, [tensor("TEXT", TEXTS)]))


def test_one_more_version_is_loaded_by_its_number(
    client: httpx.Client, library: triton.InferenceServerClient
) -> None:
    """A version that no alias names can be put into service, and is asked for by its number."""
    load = f"/v2/repository/models/{MODEL}/load"
    assert client.post(load, json={"parameters": {"version": "77"}}).status_code == 404
    assert client.post(load, json={"parameters": {"version": "2"}}).status_code == 200
    result = library.infer(MODEL, [tensor("TEXT", TEXTS)], model_version="2")
    assert result.get_response()["model_version"] == "2"
    assert library.get_model_metadata(MODEL, "2")["versions"] == ["2"]
    assert library.get_model_metadata(MODEL)["versions"] == ["1", "2"]
    numbers = [entry["version"] for entry in library.get_model_repository_index()]
    assert numbers == ["1", "2"]
    # Taking the model out and in again leaves what the aliases name.
    library.unload_model(MODEL)
    library.load_model(MODEL)
    assert [entry["version"] for entry in library.get_model_repository_index()] == ["1"]


def test_other_files_are_not_loaded(library: triton.InferenceServerClient) -> None:
    """A model that the client sends along is refused: the registry alone decides what serves."""
    with pytest.raises(InferenceServerException, match="a model as the registry has it"):
        library.load_model(MODEL, config="{}")


@pytest.mark.parametrize(
    ("model", "version", "values", "status", "message"),
    [
        ("nobody", "", TEXTS, "404", "nobody"),
        (MODEL, "77", TEXTS, "404", "77"),
        (MODEL, "", ["good", " "], "400", r"TEXT\[1\], text: expected a text with something"),
        (MODEL, "", ["good", ""], "400", r"TEXT\[1\]: expected 1 to"),
        (MODEL, "", ["good"] * (MAX_ROWS + 1), "400", f"1 to {MAX_ROWS} rows"),
    ],
)
def test_the_library_shows_what_is_wrong(
    library: triton.InferenceServerClient,
    *,
    model: str,
    version: str,
    values: list[str],
    status: str,
    message: str,
) -> None:
    """Errors reach the caller of the library with their status and their reason."""
    with pytest.raises(InferenceServerException, match=message) as caught:
        library.infer(model, [tensor("TEXT", values)], model_version=version)
    assert caught.value.status() == status


def test_a_deadline_that_is_past_is_told(library: triton.InferenceServerClient) -> None:
    """The library's timeout, in microseconds, is kept: what comes too late is not sent."""
    with pytest.raises(InferenceServerException) as caught:
        library.infer(MODEL, [tensor("TEXT", TEXTS)], timeout=1)
    assert caught.value.status() == "504"


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", f"/v2/models/{MODEL}/infer", b"", {}, 400),
        ("POST", f"/v2/models/{MODEL}/infer", b"{}", {}, 400),
        ("POST", f"/v2/models/{MODEL}/infer", b"[" * 100_000, {}, 400),
        ("POST", f"/v2/models/{MODEL}/infer", b"\xff", {}, 400),
        ("POST", f"/v2/models/{MODEL}/infer", b"x" * 1_000_001, {}, 413),
        ("POST", f"/v2/models/{MODEL}/infer", b"x", {"Content-Encoding": "br"}, 415),
        (
            "POST",
            f"/v2/models/{MODEL}/infer",
            gzip.compress(b" " * 5_000_000),
            {"Content-Encoding": "gzip"},
            413,
        ),
        ("POST", "/v2/repository/index", b"[]", {}, 400),
        ("GET", f"/v2/models/{MODEL}/infer", b"", {}, 405),
        ("GET", "/v2/nothing", b"", {}, 404),
        ("GET", "/v2/models/nobody", b"", {}, 404),
    ],
)
def test_every_failure_has_the_protocols_shape(
    client: httpx.Client,
    *,
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    """Whatever is wrong, the answer has its status and one text under ``error``."""
    answer = client.request(method, path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"]
    assert 0 < len(body["error"]) < 500
    if status == 405:
        assert answer.headers["Allow"] == "POST"


def test_statistics_count_what_was_done(library: triton.InferenceServerClient) -> None:
    """Rows and time are counted per version; failures count as such."""
    before = library.get_inference_statistics(MODEL)["model_stats"][0]
    library.infer(MODEL, [tensor("TEXT", TEXTS)])
    with pytest.raises(InferenceServerException):
        library.infer(MODEL, [tensor("TEXT", TEXTS)], timeout=1)
    (after,) = library.get_inference_statistics(MODEL, "1")["model_stats"]
    assert (after["name"], after["version"]) == (MODEL, "1")
    assert after["inference_count"] == before["inference_count"] + len(TEXTS)
    assert after["execution_count"] > before["execution_count"]
    assert after["last_inference"] >= before["last_inference"]
    stats = after["inference_stats"]
    assert stats["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert library.get_inference_statistics() == library.get_inference_statistics(MODEL)
    with pytest.raises(InferenceServerException, match="nobody"):
        library.get_inference_statistics("nobody")
