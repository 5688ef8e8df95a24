"""Settings of the feature pipeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings import Settings


class FeatureSettings(Settings):
    """What the gateway, the stream worker and the backfill need to know."""

    features_host: str = "127.0.0.1"
    features_port: Annotated[int, Field(ge=1, le=65_535)] = 8001
    features_partitions: Annotated[int, Field(ge=1, le=1_024)] = 2
    """Log partitions; fixed when the log is made."""
    features_heartbeat_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How often the gateway lets time pass on an idle log."""
    features_max_body_bytes: Annotated[int, Field(ge=1)] = 4_000_000
    features_max_batch: Annotated[int, Field(ge=1)] = 1_000
    """Events in one request."""
    features_poll_seconds: Annotated[float, Field(gt=0)] = 0.1
    """How often the stream worker looks for new events."""
    features_read_limit: Annotated[int, Field(ge=1)] = 5_000
    """Events that the stream worker takes from a partition at a time."""
    features_epoch_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How often the stream worker saves its state; work since then is done again after a crash."""
