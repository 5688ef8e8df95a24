"""Microseconds since 1970, as logs store them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shared.events import EARLIEST

Clock = Callable[[], datetime]
"""Tells the time in UTC. Logs take theirs as an argument; tests give one that they can turn."""

_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def to_micros(moment: datetime) -> int:
    """Return whole microseconds since 1970."""
    return (moment - EARLIEST) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment that so many microseconds since 1970 tell."""
    return EARLIEST + micros * _MICROSECOND
