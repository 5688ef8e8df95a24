"""Models and their readiness over HTTP, as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from inference_pipeline.api.schemas import ErrorDetail, ModelName
from inference_pipeline.versions.served import ServedVersion
from inference_pipeline.versions.state import ModelState


class FeatureServiceAnswer(BaseModel):
    """The features that a version reads."""

    name: str
    hash: str
    matches: bool
    """Whether the feature store has them; if not, the version answers without features."""


class ServedAnswer(BaseModel):
    """A version in service."""

    name: str
    version: str
    alias: str | None
    """Null for a version that was loaded by its number."""
    variant: str
    """Which of its ONNX files answers, such as ``int8``."""
    loaded_at: datetime
    labels: list[str]
    feature_service: FeatureServiceAnswer
    metrics: dict[str, float]

    @classmethod
    def of(cls, served: ServedVersion) -> ServedAnswer:
        """Return a version as it goes over the wire."""
        manifest = served.model.manifest
        return cls(
            name=served.version.name,
            version=served.version.version,
            alias=served.alias,
            variant=served.model.variant,
            loaded_at=served.loaded_at,
            labels=manifest.labels,
            feature_service=FeatureServiceAnswer(
                name=manifest.feature_service,
                hash=manifest.feature_hash,
                matches=served.mismatch is None,
            ),
            metrics=manifest.metrics,
        )


class ModelAnswer(BaseModel):
    """A model of this server."""

    name: str
    ready: bool
    in_use: bool
    """False from the moment it was taken out of service until it is loaded again."""
    challenger_share: float
    """Of the requests that name no version, 0 to 1."""
    versions: list[ServedAnswer]
    """In service, the champion first."""
    problems: list[ErrorDetail]
    """Such as a version that an alias names and that may not serve."""

    @classmethod
    def of(cls, state: ModelState) -> ModelAnswer:
        """Return a model as it goes over the wire."""
        return cls(
            name=state.name,
            ready=state.ready,
            in_use=state.in_use,
            challenger_share=state.share,
            versions=[ServedAnswer.of(served) for served in state.served],
            problems=[ErrorDetail.of(problem) for problem in state.problems()],
        )


class ModelsAnswer(BaseModel):
    """All models of this server, the default first."""

    models: list[ModelAnswer]


class HealthAnswer(BaseModel):
    """Whether the process does its work."""

    status: str


class ReadyAnswer(BaseModel):
    """Whether requests can be answered."""

    ready: bool
    model: ModelName | None
    """The champion of the default model."""
    models: list[ModelName]
    """The champions of all models."""
    reasons: list[ErrorDetail]
    """Why not."""
    warnings: list[ErrorDetail]
    """What is wrong although requests are answered: a refused version, an absent registry."""
