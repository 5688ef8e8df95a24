"""What a store raises while it is away for a moment, and what ends that is worth waiting for."""

from __future__ import annotations

import sqlite3

import redis.exceptions
from deltalake.exceptions import DeltaError

from shared.feature_store import FeatureRegistryAwayError

OUTAGES: tuple[type[Exception], ...] = (
    redis.exceptions.ConnectionError,  # a server that loads its data is one of these
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,  # a replica that is about to become the primary
    sqlite3.OperationalError,  # a file that another process is writing
    FeatureRegistryAwayError,
    DeltaError,
    OSError,
)
"""Errors of a store that may be back soon. Writing again is safe: see ``stream.writer``."""
