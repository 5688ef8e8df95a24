"""What pydantic found, in the words of our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_SHOWN_CHARS = 80
_VALIDATOR = "function-"
"""What pydantic puts into a place for a validator of a type that is one of several."""


def first_error(error: ValidationError) -> tuple[str, str, str]:
    """Return the field, what was expected there and what was found, of the first thing wrong."""
    details = error.errors(include_url=False)[0]
    # A field's name that is no text is in no place either.
    whole = "an unnamed field" if details["type"] == "string_unicode" else "the document"
    return printable(place(details["loc"])) or whole, expectation(details), found(details)


def place(loc: Sequence[str | int]) -> str:
    """Return where a pydantic error is, by the names that people gave.

    >>> place(("search", "epochs", "function-after[_is_not_empty(), Range]", "min"))
    'search.epochs.min'
    """
    return ".".join(str(part) for part in loc if not str(part).startswith(_VALIDATOR))


def expectation(details: Mapping[str, Any]) -> str:
    """Return what should have stood where a pydantic error is.

    >>> expectation({"type": "string_type", "msg": "Input should be a valid string"})
    'a valid string'
    """
    if details["type"] == "missing":
        return "a value"
    if details["type"] == "extra_forbidden":
        return "no field of this name"
    if details["type"] == "json_invalid":
        return "JSON"
    if details["type"] == "timezone_aware":
        return "a time with a zone, such as '2026-01-31T12:00:00Z'"
    text = str(details["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:]


def found(details: Mapping[str, Any]) -> str:
    """Return what stood where a pydantic error is."""
    if details["type"] == "missing":
        return "nothing"
    if details["type"] == "json_invalid":
        return f"what is none ({details['ctx']['error']})"
    if details["type"] == "value_error" and isinstance(details["input"], Mapping):
        # Of a whole section: what is wrong need not stand at its beginning.
        text = repr(details["input"])
        return text if len(text) <= _SHOWN_CHARS else "something else"
    return shown(details["input"])


def printable(text: str) -> str:
    """Return a text that any encoding can hold: half a surrogate pair, say, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """Return a value as an error shows it: cut, so that a huge one does not fill logs.

    >>> shown("a" * 200).endswith("… (str, 200 characters)")
    True
    """
    text = repr(value)
    if len(text) <= _SHOWN_CHARS:
        return text
    size = f", {len(value)} characters" if isinstance(value, str) else ""
    return f"{text[:_SHOWN_CHARS]}… ({type(value).__name__}{size})"
