"""``POST /v1/predict``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic_core import to_json

from inference_pipeline.api.disconnect import while_connected
from inference_pipeline.api.schemas import (
    ErrorAnswer,
    MentionToPredict,
    PredictAnswer,
    PredictRequest,
    Responses,
    placed,
    predict_answer,
)
from inference_pipeline.engine.answer import Answer, Ask, Question, RowError
from inference_pipeline.engine.engine import Engine
from shared.errors import InputError

_MAX_ID_CHARS = 200
_PROBLEMS: Responses = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in (
        (400, "The body cannot be read"),
        (404, "There is no such model or version"),
        (413, "The body is too large"),
        (415, "The body is not sent as JSON"),
        (422, "The request does not fit; the place says where"),
        (429, "It would not be answered in time; the header Retry-After says when to try again"),
        (500, "The server, or the model on every text, failed"),
        (503, "No version is in service"),
        (504, "It was not answered in time"),
    )
}

Name = Annotated[str | None, Query(min_length=1, max_length=_MAX_ID_CHARS)]


def prediction_routes(engine: Engine, *, max_batch: int) -> APIRouter:
    """Return the route that clients use."""
    router = APIRouter(prefix="/v1")

    @router.post("/predict", response_model=PredictAnswer, responses=_PROBLEMS)
    async def predict(
        request: Request,
        body: PredictRequest,
        *,
        model: Name = None,
        version: Name = None,
        key: Name = None,
        timeout_seconds: Annotated[float | None, Query(gt=0, le=3600)] = None,
        x_request_id: Annotated[str | None, Header(max_length=_MAX_ID_CHARS)] = None,
    ) -> Response:
        """Classify one mention or several.

        Traffic is split between champion and challenger by `key`, such as a user's id, and by the
        text without one. A mention of several that cannot be answered has an `error` in its place.
        """
        ask = Ask(
            model=model,
            version=version,
            key=key,
            timeout=None if timeout_seconds is None else timedelta(seconds=timeout_seconds),
            request_id=x_request_id,
        )
        answer = await while_connected(request, engine.predict(_questions(body, max_batch), ask))
        _check_that_one_is_answered(answer)
        # Not through FastAPI, which would check the answer once more against its own schema.
        return Response(to_json(predict_answer(answer)), media_type="application/json")

    return router


def _questions(body: PredictRequest, max_batch: int) -> list[Question]:
    if isinstance(body, MentionToPredict):
        return [body.question()]
    if len(body.mentions) > max_batch:
        raise InputError(
            "mentions", expected=f"at most {max_batch} items", found=f"{len(body.mentions)}"
        )
    return body.questions()


def _check_that_one_is_answered(answer: Answer) -> None:
    """Raise the first error if no mention has a prediction."""
    errors = [row for row in answer.predictions if isinstance(row, RowError)]
    if len(errors) == len(answer.predictions):
        raise placed(errors[0])
