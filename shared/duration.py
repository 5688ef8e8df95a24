"""Durations as a task file writes them: ``90s``, ``15m``, ``24h``, ``7d``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
LONGEST = timedelta(days=36_525)
"""A hundred years: beyond, moments that are counted from today leave the calendar."""
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text like ``90s``, ``15m``, ``24h`` or ``7d`` tells.

    >>> parse_duration("24h") == timedelta(days=1)
    True
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("a whole number and one of s, m, h, d, such as '24h'")
    try:
        return timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])
    except (OverflowError, ValueError):
        raise ValueError("a duration of less than a billion days") from None


def _read_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bounded(duration: timedelta) -> timedelta:
    if duration > LONGEST:
        raise ValueError(f"a duration of {LONGEST.days}d, a hundred years, at most")
    return duration


def _written(duration: timedelta) -> str:
    """Return the duration as a task file has it, so that a task in JSON can be read again."""
    return f"{int(duration.total_seconds())}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    AfterValidator(_bounded),
    PlainSerializer(_written, when_used="json"),
]
