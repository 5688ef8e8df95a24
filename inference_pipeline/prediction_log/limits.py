"""The limits of the prediction log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class LogLimits:
    """How much waits where, and for how long."""

    buffer_rows: int = 10_000
    """Predictions in memory."""
    spool_rows: int = 100_000
    """Predictions on the disk."""
    spool_interval: timedelta = timedelta(seconds=1)
    """What a crash loses at most."""
    commit_interval: timedelta = timedelta(seconds=15)
    """Between two commits: each is a file in the store, so not one a request."""
    commit_rows: int = 20_000
    """A commit comes early when so many wait."""


DEFAULT_LIMITS = LogLimits()
