"""The envelope of an inference: JSON, and after it the tensors that travel in binary. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from inference_pipeline.oip.schemas import InferInput, InferRequest
from inference_pipeline.oip.tensors import Tensor, texts_from_bytes, texts_from_json
from shared.errors import InputError
from shared.validation import first_error, printable, shown

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header that tells how many bytes of a body are JSON; without it all of them are."""

TEXT_TYPE = "BYTES"
_MAX_HEADER_DIGITS = 12

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Column:
    """The elements of one input."""

    shape: tuple[int, ...]
    texts: list[str]


@dataclass(frozen=True)
class Opened:
    """A request, with its inputs by name."""

    request: InferRequest
    columns: Mapping[str, Column]


def open_request(body: bytes, header_length: str | None) -> Opened:
    """Read an inference request.

    Args:
        body: the JSON, and the binary data after it.
        header_length: what the HTTP header of that name says; None without one.

    Raises:
        InputError: the body is not what the protocol asks for.
    """
    size = len(body) if header_length is None else _json_size(header_length, len(body))
    request = parse(InferRequest, body[:size])
    return Opened(request, _columns(request.inputs, body[size:]))


def parse(kind: type[M], body: bytes) -> M:
    """Read a JSON object.

    Raises:
        InputError: it is none, or not of this kind.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        field, expected, found = first_error(error)
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise InputError("body", expected="JSON", found="what is none") from None
        raise InputError(field, expected=expected, found=found) from None


def seal(
    head: Mapping[str, Any], tensors: Sequence[Tensor], binary: Callable[[str], bool]
) -> tuple[bytes, int | None]:
    """Write an inference answer.

    Args:
        head: the fields of the answer's JSON beside its outputs.
        tensors: the outputs, in order.
        binary: whether the output of a name goes in binary.

    Returns:
        The body, and how many bytes of it are JSON, or None when all are.
    """
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor in tensors:
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if binary(tensor.name):
            raw = tensor.to_bytes()
            tail.append(raw)
            output["parameters"] = {"binary_data_size": len(raw)}
        else:
            output["data"] = tensor.values
        outputs.append(output)
    header = json.dumps(
        {**head, "outputs": outputs}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()
    if not tail:
        return header, None
    return b"".join((header, *tail)), len(header)


def _json_size(header_length: str, body_length: int) -> int:
    plain = header_length.isascii() and header_length.isdecimal()
    # Digits are counted first: a number of any length would take as long to read.
    if not plain or len(header_length) > _MAX_HEADER_DIGITS or int(header_length) > body_length:
        raise InputError(
            f"header {HEADER_LENGTH}",
            expected=f"a number up to the body's length, {body_length}",
            found=shown(header_length),
        )
    return int(header_length)


def _columns(inputs: Sequence[InferInput], tail: bytes) -> dict[str, Column]:
    """Return the inputs by name; binary data stand in the order of the inputs that have some."""
    columns: dict[str, Column] = {}
    at = 0
    for given in inputs:
        name = printable(given.name)
        if given.name in columns:
            raise InputError(f"input {name}", expected="one of each name", found="two")
        if given.datatype != TEXT_TYPE:
            raise InputError(
                f"input {name}", expected=f"datatype {TEXT_TYPE}", found=shown(given.datatype)
            )
        if given.parameters.shared_memory_region is not None:
            raise no_shared_memory(f"input {name}")
        size = given.parameters.binary_data_size
        if size is not None and at + size > len(tail):
            raise InputError(
                f"input {name}",
                expected=f"{size} bytes of binary data after the JSON",
                found=f"{len(tail) - at}",
                remedy=f"The header {HEADER_LENGTH} tells where the JSON ends.",
            )
        columns[given.name] = _column(f"input {name}", given, tail[at : at + (size or 0)])
        at += size or 0
    if at != len(tail):
        raise InputError("body", expected="the inputs and no more", found=f"{len(tail) - at} bytes")
    return columns


def _column(place: str, given: InferInput, raw: bytes) -> Column:
    if given.parameters.binary_data_size is not None:
        texts = texts_from_bytes(place, given.shape, raw)
    elif given.data is not None:
        texts = texts_from_json(place, given.shape, given.data)
    else:
        raise InputError(place, expected="data, or binary_data_size", found="neither")
    return Column(tuple(given.shape), texts)


def no_shared_memory(place: str) -> InputError:
    """Return the error of a tensor that is said to stand in shared memory."""
    return InputError(
        place,
        expected="data in the request and the answer",
        found="shared memory, which this server does not use",
    )
