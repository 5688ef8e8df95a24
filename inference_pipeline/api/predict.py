"""``POST /v1/predict``."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from inference_pipeline.api.reading import PredictHeaders, PredictQuery, read_ask, read_questions
from inference_pipeline.api.schemas import (
    ErrorAnswer,
    PredictAnswer,
    PredictRequest,
    Responses,
    placed,
    predict_answer,
)
from inference_pipeline.engine.answer import Answer, RowError
from inference_pipeline.engine.engine import Engine
from inference_pipeline.http.direct_route import DirectRoute
from inference_pipeline.http.disconnect import while_connected
from inference_pipeline.http.documentation import parameters, request_body

_PROBLEMS: Responses = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in (
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
_READ_BY_HAND = {
    **request_body(PredictRequest, required=True),
    "parameters": [*parameters(PredictQuery, "query"), *parameters(PredictHeaders, "header")],
}


def prediction_routes(engine: Engine, *, max_batch: int) -> APIRouter:
    """Return the route that clients use."""
    router = APIRouter(prefix="/v1", route_class=DirectRoute)

    @router.post(
        "/predict", response_model=PredictAnswer, responses=_PROBLEMS, openapi_extra=_READ_BY_HAND
    )
    async def predict(request: Request) -> Response:
        """Classify one mention or several.

        Traffic is split between champion and challenger by `key`, such as a user's id, and by the
        text without one. A mention of several that cannot be answered has an `error` in its place.
        """
        ask = read_ask(request)
        questions = await read_questions(request, max_batch)
        answer = await while_connected(request, engine.predict(questions, ask))
        _check_that_one_is_answered(answer)
        return Response(to_json(predict_answer(answer)), media_type="application/json")

    return router


def _check_that_one_is_answered(answer: Answer) -> None:
    """Raise the first error if no mention has a prediction."""
    errors = [row for row in answer.predictions if isinstance(row, RowError)]
    if len(errors) == len(answer.predictions):
        raise placed(errors[0])
