"""Settings of the inference pipeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference_pipeline.cores import available_cores
from shared.settings import Settings


class InferenceSettings(Settings):
    """What the inference pipeline reads from the environment, such as ``FTI_INFERENCE_PORT``."""

    inference_host: str = "127.0.0.1"
    inference_port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    inference_model: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,62})?$")] = ""
    """The registered model; by default the one of the task."""
    inference_poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Between two looks at the alias ``champion``."""
    inference_feature_timeout_seconds: Annotated[float, Field(gt=0)] = 0.5
    """How long a request waits for the online store before it is answered without features."""
    inference_max_batch: Annotated[int, Field(ge=1)] = 64
    """Mentions in one request."""
    inference_max_body_bytes: Annotated[int, Field(ge=1)] = 1_000_000
    inference_threads: Annotated[int, Field(ge=1)] = Field(default_factory=available_cores)
    """Forward passes at a time, each on one thread. By default one per core of this process."""
