"""Settings of the inference pipeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference_pipeline.cores import available_cores
from shared.settings import Settings

_MODELS = r"^([a-z][a-z0-9_]{0,62}(,[a-z][a-z0-9_]{0,62})*)?$"


class InferenceSettings(Settings):
    """What the inference pipeline reads from the environment, such as ``FTI_INFERENCE_PORT``."""

    inference_host: str = "127.0.0.1"
    inference_port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    inference_model: Annotated[str, Field(pattern=_MODELS)] = ""
    """The registered models, separated by commas; by default the one of the task."""
    inference_poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Between two looks at the aliases of a model."""
    inference_min_label_agreement: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Share of held-out labels that a quantised variant must have kept to serve."""
    inference_max_logit_difference: Annotated[float, Field(ge=0)] = 0.5
    """How far its logits may be off at most."""
    inference_feature_timeout_seconds: Annotated[float, Field(gt=0)] = 0.5
    """How long a request waits for the online store before it is answered without features."""
    inference_timeout_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How long a request may take; one that cannot be answered in time is refused at once."""
    inference_token_budget: Annotated[int, Field(ge=1)] = 128
    """Tokens of a batch, padding included. On two cores MiniLM is fastest in batches of about four
    short texts: smaller ones pay for each call, larger ones leave the processor's cache."""
    inference_shadow_requests: Annotated[int, Field(ge=1)] = 256
    """Requests held for the shadow version until the server idles; older ones are dropped."""
    inference_max_batch: Annotated[int, Field(ge=1)] = 64
    """Mentions in one request."""
    inference_max_body_bytes: Annotated[int, Field(ge=1)] = 1_000_000
    inference_threads: Annotated[int, Field(ge=1)] = Field(default_factory=available_cores)
    """Forward passes at a time, each on one thread. By default one per core of this process."""

    @property
    def inference_models(self) -> tuple[str, ...]:
        """The registered models; the first is the default."""
        return tuple(dict.fromkeys(self.inference_model.split(",")))
