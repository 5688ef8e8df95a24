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

_SPACE = " \t\n\r"
_MARK = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]')
"""A text, so that what stands in it is skipped; or what tells where an item begins and ends."""
_ITEM_DEPTH = 2
"""The brackets around an item: those of the body and those of its list."""


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

        By brackets and commas, since a parser that calls itself could fail here on a depth that
        it managed in ``read``. Of a field that an object names twice the last counts, so the last
        list is the batch's.
        """
        text = self.body.decode(json.detect_encoding(self.body), "surrogatepass")
        spans: list[str] = []
        depth, begin, in_list = 0, 0, False
        for match in _MARK.finditer(text):
            mark = match[0]
            if mark in "[{":
                depth += 1
                if depth == _ITEM_DEPTH:
                    in_list = mark == "["
                    begin, spans = match.end(), [] if in_list else spans
            elif mark in "]}":
                depth -= 1
                if depth == _ITEM_DEPTH - 1 and in_list:
                    spans.append(text[begin : match.start()].strip(_SPACE))
            elif mark == "," and depth == _ITEM_DEPTH and in_list:
                spans.append(text[begin : match.start()].strip(_SPACE))
                begin = match.end()
        return spans
