"""A posted batch: its items, and the bytes of each as they came."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from shared.errors import InputError
from shared.validation import shown

Kind = Literal["mentions", "labels"]

_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Batch:
    """A body ``{"mentions": […]}`` or ``{"labels": […]}`` that could be taken apart."""

    kind: Kind
    body: bytes
    items: list[Any]

    @classmethod
    def read(cls, kind: Kind, body: bytes, max_items: int) -> Batch:
        """Take a body apart.

        Raises:
            InputError: it is no JSON, or no batch of this kind, or has too many items.
        """
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError("body", expected="a JSON document", found=str(error)[:200]) from None
        if not isinstance(document, dict) or set(document) != {kind}:
            found = (
                f"an object with the fields {shown(sorted(document))}"
                if isinstance(document, dict)
                else shown(document)
            )
            raise InputError("body", expected=f'an object {{"{kind}": […]}}', found=found)
        items = document[kind]
        if not isinstance(items, list) or not 1 <= len(items) <= max_items:
            found = f"{len(items)} items" if isinstance(items, list) else shown(items)
            raise InputError(
                f"body, {kind}", expected=f"a list of 1 to {max_items} items", found=found
            )
        return cls(kind, body, items)

    def raw(self, index: int) -> bytes:
        """Return the bytes of an item as they came, in UTF-8."""
        return self._spans[index].encode("utf-8", "surrogatepass")

    @cached_property
    def _spans(self) -> list[str]:
        """The text of each item. Found only when asked for: most batches have nothing to reject.

        Of a field that an object names twice the last counts, so the last list is the batch's.
        """
        text = self.body.decode(json.detect_encoding(self.body), "surrogatepass")
        decoder = json.JSONDecoder()
        spans: list[str] = []
        at = _skip(text, 0)
        while text[at] != "}":  # at "{" or the comma before a field
            _, at = decoder.raw_decode(text, _skip(text, at + 1))  # its name
            at = _skip(text, at) + 1  # past the colon
            at = _skip(text, at)
            value_at, (_, at) = at, decoder.raw_decode(text, at)
            if text[value_at] == "[":
                spans = _items_of(text, value_at, decoder)
            at = _skip(text, at)
        return spans


def _items_of(text: str, at: int, decoder: json.JSONDecoder) -> list[str]:
    spans = []
    while text[at] != "]":  # at "[" or the comma before an item
        begin = _skip(text, at + 1)
        if text[begin] == "]":
            break
        _, end = decoder.raw_decode(text, begin)
        spans.append(text[begin:end])
        at = _skip(text, end)
    return spans


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
