"""The tensor codec: tensors as JSON lists and as bytes. Pure, and suspicious of what comes in."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.errors import InputError

Datatype = Literal["BYTES", "BOOL", "FP32"]
Shape = Sequence[int]

_LENGTH = struct.Struct("<I")
"""Before each element of a BYTES tensor stands its length."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of an answer."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Sequence[str | bool | float]
    """Row-major; all of the type that the datatype tells."""

    def to_bytes(self) -> bytes:
        """Return the values as the binary tensor extension carries them, little-endian."""
        match self.datatype:
            case "BYTES":
                encoded = (str(value).encode() for value in self.values)
                return b"".join(_LENGTH.pack(len(value)) + value for value in encoded)
            case "BOOL":
                return bytes(map(bool, self.values))
            case "FP32":
                return struct.pack(f"<{len(self.values)}f", *self.values)


def texts_from_bytes(place: str, shape: Shape, raw: bytes) -> list[str]:
    """Return the elements of a BYTES tensor that came in binary, row-major.

    Raises:
        InputError: the bytes are cut short, hold another number of elements than the shape
            says, or an element is not UTF-8.
    """
    wanted = math.prod(shape)
    texts: list[str] = []
    for element in _elements(place, raw):
        if len(texts) == wanted:
            raise _miscounted(place, wanted, "more")
        try:
            texts.append(element.decode())
        except UnicodeDecodeError:
            raise InputError(
                f"{place}[{len(texts)}]", expected="a text in UTF-8", found="other bytes"
            ) from None
    if len(texts) != wanted:
        raise _miscounted(place, wanted, str(len(texts)))
    return texts


def texts_from_json(place: str, shape: Shape, data: Sequence[object]) -> list[str]:
    """Return the elements of a BYTES tensor that came in JSON, row-major.

    Args:
        place: where errors say the tensor stands.
        shape: its dimensions.
        data: one flat list, or lists nested as the shape says.

    Raises:
        InputError: the nesting or the number of elements is not that of the shape, or an element
            is no text.
    """
    flat = list(_flattened(place, shape, data))
    wanted = math.prod(shape)
    if len(flat) != wanted:
        raise _miscounted(place, wanted, str(len(flat)))
    texts: list[str] = []
    for row, value in enumerate(flat):
        if not isinstance(value, str):
            raise InputError(
                f"{place}[{row}]", expected="a text", found=f"a JSON {type(value).__name__}"
            )
        texts.append(value)
    return texts


def _elements(place: str, raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        start = at + _LENGTH.size
        if start > len(raw):
            raise _cut_short(place, at, f"{len(raw) - at} bytes of a length of {_LENGTH.size}")
        (length,) = _LENGTH.unpack_from(raw, at)
        at = start + length
        if at > len(raw):
            raise _cut_short(place, start, f"{len(raw) - start} bytes of {length}")
        yield raw[start:at]


def _flattened(place: str, shape: Shape, data: Sequence[object]) -> Iterator[object]:
    if len(shape) < 2 or not any(isinstance(item, list) for item in data):  # noqa: PLR2004 - one dimension has nothing to nest
        yield from data
        return
    if len(data) != shape[0]:
        raise InputError(place, expected=f"{shape[0]} lists, as shaped", found=f"{len(data)}")
    for row, item in enumerate(data):
        inner = f"{place}[{row}]"
        if not isinstance(item, list):
            raise InputError(inner, expected="a list, as its neighbours are", found="a value")
        # One flat list may stand for the whole tensor, but not for a part of it.
        if len(item) != shape[1]:
            raise InputError(inner, expected=f"{shape[1]} items, as shaped", found=f"{len(item)}")
        yield from _flattened(inner, shape[1:], item)


def _miscounted(place: str, wanted: int, found: str) -> InputError:
    return InputError(place, expected=f"{wanted} elements, as its shape says", found=found)


def _cut_short(place: str, at: int, found: str) -> InputError:
    return InputError(
        f"{place}, byte {at}",
        expected="elements, each after its length in 4 bytes, little-endian",
        found=found,
    )
