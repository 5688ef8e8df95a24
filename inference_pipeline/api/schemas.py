"""Requests and answers over HTTP, as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from inference_pipeline.engine.answer import Answer, Prediction, Question, RowError
from inference_pipeline.features.join import Status
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

    # Only the first error is told; to look for all in a long list would hold up the server.
    mentions: Annotated[list[MentionToPredict], Field(min_length=1, fail_fast=True)]

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


class AnsweredBy(ModelName):
    """The version that answered."""

    alias: str | None
    """Such as ``champion``; null for a version that was asked for by its number."""
    variant: str
    """Which of its ONNX files, such as ``int8``."""


class PredictionAnswer(BaseModel):
    """The prediction for one mention."""

    label: str
    probabilities: dict[str, float]
    subject_id: str
    source_id: str
    features: dict[str, ViewAnswer]
    degraded: bool


class RowErrorAnswer(BaseModel):
    """Why a mention has no prediction."""

    error: ErrorDetail


class PredictAnswer(BaseModel):
    """The predictions for a request, in its order, all from one version."""

    model: AnsweredBy
    predictions: list[PredictionAnswer | RowErrorAnswer]


def predict_answer(answer: Answer) -> dict[str, Any]:
    """Return an answer of the engine as `PredictAnswer` has it, ready to be written as JSON."""
    return {
        "model": {
            "name": answer.version.name,
            "version": answer.version.version,
            "alias": answer.alias,
            "variant": answer.variant,
        },
        "predictions": [_row(row) for row in answer.predictions],
    }


def _row(row: Prediction | RowError) -> dict[str, Any]:
    if isinstance(row, RowError):
        return {"error": placed(row).as_dict()}
    return {
        "label": row.label,
        "probabilities": row.probabilities,
        "subject_id": row.subject_id,
        "source_id": row.source_id,
        "features": {
            view: {"status": state.status, "age_seconds": state.age_seconds}
            for view, state in row.views.items()
        },
        "degraded": row.degraded,
    }


def placed(row: RowError) -> FtiError:
    """Return the error of a row, its place as a client would write it: ``mentions[3].text``."""
    error = row.error
    return type(error)(
        f"{row.place}.{error.place}".removeprefix("."),
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 and above."""

    error: ErrorDetail


Responses = dict[int | str, dict[str, Any]]
