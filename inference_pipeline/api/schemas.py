"""Requests and answers over HTTP, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from inference_pipeline.engine import Answer, Prediction, Question
from inference_pipeline.join import Status
from shared.errors import FtiError
from shared.events import Identifier
from shared.text import MAX_TEXT_CHARS

ONE = "one"
MANY = "many"


class _Request(BaseModel):
    # Unknown fields are refused, so that a typing error is seen.
    model_config = ConfigDict(frozen=True, extra="forbid")


class MentionToPredict(_Request):
    """A text to classify. Subject and source are read off the text where they are not given."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    subject_id: Identifier | None = None
    source_id: Identifier | None = None

    def question(self, place: str = "") -> Question:
        """Return what the engine is asked; the place is for its errors."""
        return Question(place, self.text, self.subject_id, self.source_id)


class MentionsToPredict(_Request):
    """Several texts to classify."""

    mentions: Annotated[list[MentionToPredict], Field(min_length=1)]

    def questions(self) -> list[Question]:
        """Return what the engine is asked."""
        return [mention.question(f"mentions[{row}]") for row, mention in enumerate(self.mentions)]


def _form(body: object) -> str | None:
    if not isinstance(body, dict):
        return None
    return MANY if "mentions" in body else ONE


PredictRequest = Annotated[
    Annotated[MentionToPredict, Tag(ONE)] | Annotated[MentionsToPredict, Tag(MANY)],
    Discriminator(_form),
]


class ModelName(BaseModel):
    """A version of a model."""

    name: str
    version: str


class ViewAnswer(BaseModel):
    """What was known of one feature view when the prediction was made."""

    status: Status
    age_seconds: float | None


class PredictionAnswer(BaseModel):
    """The prediction for one mention."""

    label: str
    probabilities: dict[str, float]
    subject_id: str
    source_id: str
    features: dict[str, ViewAnswer]
    degraded: bool

    @classmethod
    def of(cls, prediction: Prediction) -> PredictionAnswer:
        """Return a prediction as it goes over the wire."""
        return cls(
            label=prediction.label,
            probabilities=prediction.probabilities,
            subject_id=prediction.subject_id,
            source_id=prediction.source_id,
            features={
                view: ViewAnswer(status=state.status, age_seconds=state.age_seconds)
                for view, state in prediction.views.items()
            },
            degraded=prediction.degraded,
        )


class PredictAnswer(BaseModel):
    """The predictions for a request, in its order, all from one version."""

    model: ModelName
    predictions: list[PredictionAnswer]

    @classmethod
    def of(cls, answer: Answer) -> PredictAnswer:
        """Return an answer of the engine as it goes over the wire."""
        return cls(
            model=ModelName(name=answer.version.name, version=answer.version.version),
            predictions=[PredictionAnswer.of(prediction) for prediction in answer.predictions],
        )


class FeatureServiceAnswer(BaseModel):
    """The features that a model reads."""

    name: str
    hash: str


class ModelAnswer(BaseModel):
    """The version in service."""

    name: str
    version: str
    alias: str
    loaded_at: datetime
    labels: list[str]
    feature_service: FeatureServiceAnswer
    metrics: dict[str, float]


class ErrorDetail(BaseModel):
    """Where something is wrong, what was expected there, what was found, and the remedy."""

    place: str
    expected: str
    found: str
    remedy: str

    @classmethod
    def of(cls, error: FtiError) -> ErrorDetail:
        """Return an error as it goes over the wire."""
        return cls(**error.as_dict())


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 and above."""

    error: ErrorDetail


class HealthAnswer(BaseModel):
    """Whether the process does its work."""

    status: str


class ReadyAnswer(BaseModel):
    """Whether requests can be answered."""

    ready: bool
    model: ModelName | None
    reasons: list[ErrorDetail]
    """Why not."""
    warnings: list[ErrorDetail]
    """What is wrong although requests are answered: a refused version, an absent registry."""


Responses = dict[int | str, dict[str, Any]]
