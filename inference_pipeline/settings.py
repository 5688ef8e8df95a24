"""Settings of the inference pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from inference_pipeline.prediction_log.limits import DEFAULT_LIMITS
from shared.cores import available_cores
from shared.settings import PREFIX, NeverShown, Seconds, Settings

_MODELS = r"^([a-z][a-z0-9_]{0,62}(,[a-z][a-z0-9_]{0,62})*)?$"
_COLLECTOR = r"^(https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/-]*)?)?$"


class InferenceSettings(Settings):
    """What the inference pipeline reads from the environment, such as ``FTI_INFERENCE_PORT``."""

    inference_host: str = "127.0.0.1"
    inference_port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    inference_tokens_file: Path | None = None
    """Who may ask for what; see `shared.tokens`. Without it anybody may, from this machine."""
    inference_open: bool = False
    """Without tokens, anybody may ask from other machines too: something in front guards it."""
    inference_prediction_log: Literal["full", "hashed", "off"] = "full"
    """``hashed``: without texts, but with their fingerprints, by which near-copies are known."""
    inference_log_buffer_rows: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.buffer_rows
    """Predictions that wait in memory for the spool."""
    inference_log_spool_rows: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.spool_rows
    """Predictions that wait on the disk for the feature store."""
    inference_log_spool_seconds: Seconds = DEFAULT_LIMITS.spool_interval.total_seconds()
    """Between two writes to the spool: what a crash loses at most."""
    inference_log_commit_seconds: Seconds = DEFAULT_LIMITS.commit_interval.total_seconds()
    """Between two commits to the feature store, each of which makes a file there."""
    inference_log_commit_rows: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.commit_rows
    """A commit comes early when so many predictions wait."""
    inference_traces: Annotated[str, Field(pattern=_COLLECTOR), NeverShown] = ""
    """Where spans of requests go, by OTLP over HTTP; by default none are made."""
    inference_model: Annotated[str, Field(pattern=_MODELS)] = ""
    """The registered models, separated by commas; by default the one of the task."""
    inference_poll_seconds: Seconds = 2.0
    """Between two looks at the aliases of a model."""
    inference_min_label_agreement: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Share of held-out labels that a quantised variant must have kept to serve."""
    inference_max_logit_difference: Annotated[float, Field(ge=0)] = 0.5
    """How far its logits may be off at most."""
    inference_features: Literal["on", "off"] = "on"
    """``off``: the online store is left alone, and every answer is ``degraded``."""
    inference_feature_timeout_seconds: Seconds = 0.5
    """How long a request waits for the online store before it is answered without features."""
    inference_timeout_seconds: Seconds = 2.0
    """How long a request may take; one that cannot be answered in time is refused at once."""
    inference_token_budget: Annotated[int, Field(ge=1)] = 128
    """Tokens of a batch, padding included. On two cores MiniLM is fastest in batches of about four
    short texts: smaller ones pay for each call, larger ones leave the processor's cache."""
    inference_shadow_requests: Annotated[int, Field(ge=1)] = 256
    """Requests held for the shadow version until the server idles; older ones are dropped."""
    inference_max_batch: Annotated[int, Field(ge=1)] = 64
    """Mentions in one request."""
    inference_max_body_bytes: Annotated[int, Field(ge=1)] = 1_000_000
    inference_threads: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=available_cores)
    """Forward passes at a time, each on one thread. By default one per core of this process."""
    inference_lone_pass_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Of a forward pass while nothing else runs; 0: as many as there are passes at a time. 1 saves
    memory: with more, each model is held twice."""

    @field_validator("inference_log_commit_rows")
    @classmethod
    def _spooled(cls, rows: int, info: ValidationInfo) -> int:
        """Return how many rows make a commit: as many as can wait, or it would not come early."""
        return _at_most(rows, info, "inference_log_spool_rows")

    @field_validator("inference_max_batch")
    @classmethod
    def _buffered(cls, rows: int, info: ValidationInfo) -> int:
        """Return how many mentions a request may hold: an answer must fit into the log's buffer."""
        return _at_most(rows, info, "inference_log_buffer_rows")

    @property
    def lone_pass_threads(self) -> int:
        """Threads of a forward pass that is alone."""
        return self.inference_lone_pass_threads or self.inference_threads

    @property
    def inference_models(self) -> tuple[str, ...]:
        """The registered models; the first is the default."""
        return tuple(dict.fromkeys(self.inference_model.split(",")))


def _at_most(rows: int, info: ValidationInfo, limit: str) -> int:
    # Absent where the limit itself is refused.
    most = info.data.get(limit)
    if most is not None and rows > most:
        raise ValueError(f"at most {PREFIX}{limit.upper()}, which is {most}")
    return rows
