"""What the engine is asked and what it answers, the same for every face."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from inference_pipeline.engine.timeline import Timeline
from inference_pipeline.features.join import ViewState
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError


@dataclass(frozen=True)
class Question:
    """A mention to predict. Its place is where errors say it stands, such as ``mentions[3]``."""

    place: str
    text: str
    subject_id: str | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class Ask:
    """How a request wants to be answered."""

    model: str | None = None
    """None: the server's default model."""
    version: str | None = None
    """None: as traffic is split."""
    key: str | None = None
    """What the split is sticky on; None: the first question's text."""
    timeout: timedelta | None = None
    """None, or more than the server allows: what the server allows."""
    request_id: str | None = None
    timeline: Timeline | None = None
    """Where to note the steps of the request; None: nowhere."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of one mention, and what it knew."""

    label: str
    probabilities: dict[str, float]
    """By label, in the model's order."""
    subject_id: str
    source_id: str
    features: dict[str, float]
    """As the model read them, by column; NaN where missing, stale or unavailable."""
    views: dict[str, ViewState]
    degraded: bool


@dataclass(frozen=True)
class RowError:
    """A mention that has no prediction, though its neighbours may have theirs."""

    place: str
    """Of the question; the error's own place is inside it."""
    error: FtiError


@dataclass(frozen=True)
class Answer:
    """The predictions of one request, one for each question. They all come from one version."""

    version: ModelVersion
    alias: str | None
    """The alias under which the version serves; None for one asked for by its number."""
    variant: str
    """Which of the version's ONNX files answered, such as ``int8``."""
    predictions: list[Prediction | RowError]

    @property
    def labels(self) -> list[str | None]:
        """What was predicted, None where nothing was."""
        return [row.label if isinstance(row, Prediction) else None for row in self.predictions]
