"""The one text normalisation: ingestion and a prediction request both go through it."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata

MAX_TEXT_CHARS = 10_000

_LONG_REFERENCE = re.compile(r"&#([0-9]{8,})")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_RETWEET = re.compile(r"^(?:rt|mt|via)\s+@\w+:?\s*", re.IGNORECASE)
_HANDLE = re.compile(r"@\w+")
_NOT_WORD = re.compile(r"[\W_]+")
# Zero-width joiner and the variation selectors hold emoji together.
_KEPT_FORMAT_CHARS = frozenset("\u200d\ufe0e\ufe0f")


def normalise(text: str) -> str:
    r"""Return the form of a text that models read.

    HTML entities are decoded, addresses become ``http``, control characters go and white space
    collapses. Case, punctuation, negations and emoji stay: they carry sentiment. It is for texts as
    they came: entities are decoded once.

    >>> normalise("Not  good &amp; late\n http://t.co/x1 ")
    'Not good & late http'
    """
    # Python refuses to read numbers of thousands of digits; no character has more than seven.
    readable = _LONG_REFERENCE.sub(_without_zeros, text)
    spaced = _SPACE.sub(" ", html.unescape(readable))
    # Nearly every text: a look at each character would take ten times as long as all the rest.
    printable = spaced if spaced.isprintable() else _without_control_characters(spaced)
    composed = unicodedata.normalize("NFC", printable)
    return _SPACE.sub(" ", _URL.sub("http", composed)).strip()


def _without_zeros(reference: re.Match[str]) -> str:
    return f"&#{reference[1].lstrip('0')[:8] or '0'}"


def _without_control_characters(text: str) -> str:
    return "".join(
        char
        for char in text
        if char in _KEPT_FORMAT_CHARS or not unicodedata.category(char).startswith("C")
    )


def fingerprint(normalised: str) -> str:
    """Return 16 hex digits that near-copies of a text share: retweets, other links, other case.

    >>> fingerprint("RT @ann: Great flight! http") == fingerprint("great flight")
    True
    >>> fingerprint("not a great flight") == fingerprint("a great flight")
    False
    """
    body = _RETWEET.sub("", normalised)
    words = _NOT_WORD.sub(" ", _HANDLE.sub(" ", body).replace("http", " ").casefold()).strip()
    return hashlib.blake2b((words or normalised).encode(), digest_size=8).hexdigest()
