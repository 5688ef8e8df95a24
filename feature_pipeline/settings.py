"""Settings of the feature pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from feature_pipeline.dead_letters import DEFAULT_MAX_BYTES
from feature_pipeline.eventlog.address import check_log_address
from shared.settings import NeverShown, Seconds, Settings


class FeatureSettings(Settings):
    """What the gateway, the stream worker and the backfill need to know."""

    features_host: str = "127.0.0.1"
    features_port: Annotated[int, Field(ge=1, le=65_535)] = 8001
    features_tokens_file: Path | None = None
    """Who may post events; see `shared.tokens`. Without it anybody may, from this machine."""
    features_open: bool = False
    """Without tokens, anybody may post from other machines too: something in front guards it."""
    features_log: Annotated[SecretStr, NeverShown] = SecretStr("")
    """The event log: ``redis://``, ``rediss://`` or ``kafka://``; by default SQLite in the home."""
    features_kafka_config: Path | None = None
    """Properties of librdkafka for a log on Kafka, such as those of TLS and SASL, a line each."""
    features_partitions: Annotated[int, Field(ge=1, le=1_024)] = 2
    """Log partitions; fixed when the log is made."""
    features_heartbeat_seconds: Seconds = 5.0
    """How often the gateway lets time pass on an idle log."""
    features_max_body_bytes: Annotated[int, Field(ge=1)] = 4_000_000
    features_max_batch: Annotated[int, Field(ge=1)] = 1_000
    """Events in one request."""
    features_max_requests: Annotated[int, Field(ge=1)] = 64
    """Requests with events at a time."""
    features_events_per_second: Annotated[float, Field(gt=0)] = 10_000.0
    """Events of one client, by its token or else by its address."""
    features_burst: Annotated[int, Field(ge=1)] = 10_000
    """Events of one client at once, after a pause; no less than those of a request."""
    features_max_backlog: Annotated[int, Field(ge=1)] = 1_000_000
    """Log entries that may wait for the stream; with more the gateway takes no events."""
    features_dead_letter_bytes: Annotated[int, Field(ge=100_000)] = DEFAULT_MAX_BYTES
    """Room for rejected rows and items; none is dropped to make room."""
    features_poll_seconds: Seconds = 0.05
    """How often the stream worker looks for new events."""
    features_read_limit: Annotated[int, Field(ge=1)] = 5_000
    """Events that the stream worker takes from a partition at a time."""
    features_epoch_seconds: Seconds = 5.0
    """How often the stream worker saves its state; work since then is done again after a crash."""
    features_commit_seconds: Seconds = 1.0
    """How long rows may wait for a commit to the offline tables; no longer than an epoch lasts."""
    features_outage_seconds: Seconds = 60.0
    """How long the stream worker waits for a feature store that is away before it stops."""
    features_stream_host: str = "127.0.0.1"
    features_stream_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Where the stream worker tells how it is and shows its figures; none: it does not."""
    features_stream_open: bool = False
    """Anybody may see them from other machines too: only those reach it who may."""
    features_stall_seconds: Seconds = 30.0
    """How long the stream worker may stand still and count as ready."""
    features_keep_versions_days: Annotated[int, Field(ge=7)] = 30
    """How long old versions of the offline tables can be read after they were replaced."""

    @field_validator("features_log")
    @classmethod
    def _of_a_log(cls, address: SecretStr) -> SecretStr:
        if address.get_secret_value():
            check_log_address(address.get_secret_value())
        return address

    @field_validator("features_burst")
    @classmethod
    def _holds_a_batch(cls, burst: int, info: ValidationInfo) -> int:
        if burst < info.data.get("features_max_batch", 0):
            raise ValueError("no less than FTI_FEATURES_MAX_BATCH, or a full batch never passes")
        return burst
