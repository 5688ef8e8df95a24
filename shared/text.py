"""The one text normalisation: ingestion and a prediction request both go through it."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata

MAX_TEXT_CHARS = 10_000

_LONG_REFERENCE = re.compile(r"&#([0-9]{8,})")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_RETWEET = re.compile(r"(?:rt|mt|via)\s+@\w+:?\s*", re.IGNORECASE)
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
    # Few texts need each step, and a regular expression costs more than a look for what it needs.
    if "&#" in text:
        # Python refuses to read numbers of thousands of digits; no character has more than seven.
        text = _LONG_REFERENCE.sub(_without_zeros, text)
    spaced = " ".join(html.unescape(text).split())
    if spaced.isascii() and spaced.isprintable():
        composed = spaced
    else:
        printable = spaced if spaced.isprintable() else _without_control_characters(spaced)
        composed = " ".join(unicodedata.normalize("NFC", printable).split())
    if "://" in composed or "www." in composed.lower():
        return _URL.sub("http", composed)
    return composed


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
    retweet = _RETWEET.match(normalised)
    body = normalised[retweet.end() :] if retweet else normalised
    if "@" in body:
        body = _HANDLE.sub(" ", body)
    words = _NOT_WORD.sub(" ", body.replace("http", " ").casefold()).strip()
    return hashlib.blake2b((words or normalised).encode(), digest_size=8).hexdigest()
