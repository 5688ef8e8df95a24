"""The protocol's envelope and tensors, against the bytes that its own client library makes."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from inference_pipeline.oip.encodings import (
    BodyTooLargeError,
    UnsupportedEncodingError,
    decoded,
    encode,
)
from inference_pipeline.oip.envelope import open_request, seal
from inference_pipeline.oip.signature import questions
from inference_pipeline.oip.tensors import Tensor, texts_from_bytes, texts_from_json
from shared.errors import InputError

TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=5)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def text_input(texts: list[str], *, binary: bool, column: bool = False) -> InferInput:
    """Return the client library's tensor of some texts."""
    shape = [len(texts), 1] if column else [len(texts)]
    tensor = InferInput("TEXT", shape, "BYTES")
    # As bytes: the library writes what it is given, and numpy would cut trailing zeros of text.
    values = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape)
    return tensor.set_data_from_numpy(values, binary_data=binary)


@given(texts=TEXTS, binary=st.booleans(), column=st.booleans())
def test_inputs_arrive_as_the_client_wrote_them(
    texts: list[str],
    binary: bool,  # noqa: FBT001 - drawn by hypothesis
    column: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Whatever the texts, in JSON or in binary, flat or as a column, they come out unchanged."""
    tensor = text_input(texts, binary=binary, column=column)
    body, json_bytes = InferenceServerClient.generate_request_body([tensor], request_id="7")
    opened = open_request(body, None if json_bytes is None else str(json_bytes))
    assert opened.request.id == "7"
    assert opened.request.parameters.binary_data_output
    assert opened.columns["TEXT"].texts == texts


@given(texts=TEXTS, binary=st.sets(st.sampled_from(["A", "B", "C"])))
def test_outputs_arrive_at_the_client_as_they_were(texts: list[str], binary: set[str]) -> None:
    """Each datatype comes out of the client library unchanged, in JSON, in binary and mixed."""
    numbers = [index / 7 for index in range(2 * len(texts))]
    flags = [index % 2 == 0 for index in range(len(texts))]
    body, json_bytes = seal(
        {"model_name": "m", "model_version": "1"},
        [
            Tensor("A", "BYTES", (len(texts),), texts),
            Tensor("B", "FP32", (len(texts), 2), numbers),
            Tensor("C", "BOOL", (len(texts),), flags),
        ],
        binary=binary.__contains__,
    )
    result = InferResult.from_response_body(body, header_length=json_bytes)
    assert (json_bytes is None) == (not binary)
    found = [
        item.decode() if isinstance(item, bytes) else item for item in result.as_numpy("A").tolist()
    ]
    assert found == texts
    np.testing.assert_array_equal(result.as_numpy("B").ravel(), np.array(numbers, np.float32))
    assert result.as_numpy("C").tolist() == flags


@given(raw=st.binary(max_size=40), shape=st.lists(st.integers(0, 4), max_size=3))
def test_random_bytes_are_a_tensor_or_a_clear_error(raw: bytes, shape: list[int]) -> None:
    """Bytes are read as exactly the tensor that they are, or refused."""
    try:
        texts = texts_from_bytes("x", shape, raw)
    except InputError:
        return
    assert len(texts) == np.prod(shape, dtype=int)
    again = Tensor("x", "BYTES", tuple(shape), texts).to_bytes()
    assert again == raw


@given(data=st.lists(JSON_VALUES, max_size=4), shape=st.lists(st.integers(0, 3), max_size=3))
def test_random_json_is_a_tensor_or_a_clear_error(data: list[Any], shape: list[int]) -> None:
    """JSON data are as many texts as the shape says, or refused."""
    try:
        texts = texts_from_json("x", shape, data)
    except InputError:
        return
    assert len(texts) == np.prod(shape, dtype=int)
    assert all(isinstance(text, str) for text in texts)


@given(
    body=st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    header_length=st.none() | st.text(max_size=4) | st.integers(-1, 60).map(str),
)
def test_random_bodies_are_refused_clearly(body: bytes, header_length: str | None) -> None:
    """No body and no header makes anything but an error with a place and an expectation."""
    with pytest.raises(InputError) as caught:
        open_request(body, header_length)
    assert caught.value.place
    assert caught.value.expected


def request_with(**changes: Any) -> dict[str, Any]:
    """Return a request of one text, its input changed."""
    tensor = {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["good"]}
    return {"inputs": [tensor | changes]}


@pytest.mark.parametrize(
    ("request_json", "found"),
    [
        (request_with(name="BODY"), "input BODY: expected inputs among TEXT, SUBJECT, SOURCE"),
        (request_with(name="SUBJECT"), "inputs: expected an input TEXT"),
        (request_with(datatype="FP32", data=[1.5]), "input TEXT: expected datatype BYTES"),
        (request_with(data=[5]), r"input TEXT\[0\]: expected a text, found a JSON int"),
        (request_with(data=["a", "b"]), "input TEXT: expected 1 elements"),
        (request_with(data=None), "input TEXT: expected data, or binary_data_size"),
        (request_with(shape=[]), r"input TEXT: expected shape \[rows\] or \[rows, 1\]"),
        (request_with(shape=[0], data=[]), "input TEXT: expected 1 to 4 rows, found 0"),
        (request_with(shape=[5], data=["a"] * 5), "input TEXT: expected 1 to 4 rows, found 5"),
        (request_with(shape=[1, 2], data=["a", "b"]), r"expected shape \[1\] or \[1, 1\]"),
        (request_with(shape=[2, 1], data=[["a"], "b"]), r"TEXT\[1\]: expected a list"),
        (request_with(shape=[2, 1], data=[["a", "b"], []]), r"TEXT\[0\]: expected 1 items"),
        (request_with(shape=[2, 1], data=[["a"]]), "expected 2 lists, as shaped, found 1"),
        (request_with(shape=[-1]), "inputs.0.shape.0: expected greater than or equal to 0"),
        (request_with(shape=["1"]), "inputs.0.shape.0: expected a valid integer"),
        (request_with(data=[""]), r"TEXT\[0\]: expected 1 to 10000 characters, found 0"),
        (request_with(parameters={"binary_data_size": 9}), "expected 9 bytes of binary data"),
        (request_with(parameters={"shared_memory_region": "r"}), "shared memory"),
        (request_with(name="x" * 201), "inputs.0.name: expected string should have at most 200"),
        ({"inputs": []}, "inputs: expected"),
        ({"inputs": [5] * 1000}, "inputs"),
        ({}, "inputs: expected a value"),
        ({"inputs": [*request_with()["inputs"] * 2]}, "input TEXT: expected one of each name"),
        ([], "expected an object"),
        (request_with() | {"parameters": {"timeout": -1}}, "parameters.timeout"),
    ],
)  # fmt: skip
def test_mistakes_are_named(request_json: object, found: str) -> None:
    """Each mistake in a request is told with its place and what was expected there."""
    with pytest.raises(InputError, match=found):
        questions(open_request(json.dumps(request_json).encode(), None).columns, max_rows=4)


def test_subjects_and_sources_go_with_their_texts() -> None:
    """Rows keep their subject and source; an empty one is not given, a bad one is named."""
    columns = {
        "inputs": [
            {"name": name, "shape": [2], "datatype": "BYTES", "data": data}
            for name, data in (("TEXT", ["a", "b"]), ("SOURCE", ["ann", ""]))
        ]
    }
    asked = questions(open_request(json.dumps(columns).encode(), None).columns, max_rows=4)
    assert [(one.text, one.subject_id, one.source_id) for one in asked] == [
        ("a", None, "ann"),
        ("b", None, None),
    ]
    columns["inputs"][1]["data"] = ["ann", " x"]
    with pytest.raises(InputError, match=r"SOURCE\[1\]: expected an id without white space"):
        questions(open_request(json.dumps(columns).encode(), None).columns, max_rows=4)


def test_bytes_that_are_left_over_are_refused() -> None:
    """Binary data that no input claims are a mistake, not padding."""
    head = json.dumps(request_with()).encode()
    with pytest.raises(InputError, match="found 3 bytes"):
        open_request(head + b"abc", str(len(head)))


def test_a_text_that_is_no_utf8_is_named() -> None:
    """The row with the broken bytes is told."""
    raw = struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"\xff"
    with pytest.raises(InputError, match=r"TEXT\[1\]: expected a text in UTF-8"):
        texts_from_bytes("TEXT", [2], raw)


@given(body=st.binary(max_size=4000), name=st.sampled_from(["gzip", "deflate", "br", ""]))
def test_compressed_bodies_come_back(body: bytes, name: str) -> None:
    """What is compressed for a client is what it decompresses, and small or unknown is plain."""
    packed, encoding = encode(body, name)
    assert encoding in {name, None}
    assert decoded(packed, encoding or "", max_bytes=len(body)) == body


@given(raw=st.binary(max_size=60), name=st.sampled_from(["gzip", "deflate"]))
def test_random_bytes_are_not_taken_for_compressed(raw: bytes, name: str) -> None:
    """Bytes that are no complete stream are refused, not guessed at."""
    with pytest.raises(InputError):
        decoded(raw, name, max_bytes=1000)


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_bomb_is_not_unpacked(name: str, compress: Any) -> None:
    """Decompression stops at the limit, however much was packed."""
    with pytest.raises(BodyTooLargeError):
        decoded(compress(b"\0" * 10_000_000), name, max_bytes=1000)
    with pytest.raises(InputError, match="a part of it"):
        decoded(compress(b"\0" * 1000)[:-1], name, max_bytes=1000)


def test_another_encoding_is_refused() -> None:
    """Brotli, or two encodings one over the other, are told as not supported."""
    for name in ("br", "gzip, deflate"):
        with pytest.raises(UnsupportedEncodingError, match="gzip, deflate or none"):
            decoded(b"x", name, max_bytes=10)
