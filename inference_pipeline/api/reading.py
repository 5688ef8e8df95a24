"""What a request for predictions says: its body, its query and its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request

from inference_pipeline.api.errors import from_validation
from inference_pipeline.api.schemas import MentionsToPredict, MentionToPredict, PredictRequest
from inference_pipeline.engine.answer import Ask, Question
from inference_pipeline.http.refusal import RequestError
from inference_pipeline.http.tracing import timeline_of
from shared.errors import InputError
from shared.validation import shown

_MAX_ID_CHARS = 200
_JSON = "application/json"
_JSON_SUFFIXED = re.compile(r"application/\S+\+json")
_BODY: TypeAdapter[MentionToPredict | MentionsToPredict] = TypeAdapter(PredictRequest)

Name = Annotated[str, Field(min_length=1, max_length=_MAX_ID_CHARS)]


class PredictQuery(BaseModel):
    """Who shall answer, and how fast. Unknown parameters are refused, as unknown fields are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name | None = None
    version: Name | None = None
    key: Name | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None


class PredictHeaders(BaseModel):
    """What names the request in logs."""

    model_config = ConfigDict(frozen=True)

    x_request_id: Annotated[str, Field(max_length=_MAX_ID_CHARS)] | None = Field(
        default=None, alias="x-request-id"
    )


# Most requests have neither.
_NO_QUERY = PredictQuery()
_NO_HEADERS = PredictHeaders()


async def read_questions(request: Request, max_batch: int) -> list[Question]:
    """Return what is asked: one question, or at most `max_batch`.

    Raises:
        RequestError: the body is not sent as JSON, or is too large.
        InputError: it does not fit.
        ClientDisconnect: the client left before its end.
    """
    _check_type(request.headers.get("content-type", ""))
    body = await request.body()
    try:
        asked = _BODY.validate_json(body)
    except ValidationError as error:
        raise _first_of(error) from None
    if isinstance(asked, MentionToPredict):
        return [asked.question()]
    if len(asked.mentions) > max_batch:
        raise InputError(
            "mentions", expected=f"at most {max_batch} items", found=f"{len(asked.mentions)}"
        )
    return asked.questions()


def read_ask(request: Request) -> Ask:
    """Return how it is asked.

    Raises:
        InputError: a parameter or a header does not fit.
    """
    query, headers = _NO_QUERY, _NO_HEADERS
    if request.scope["query_string"]:
        query = _read_query(request.query_params)
    if "x-request-id" in request.headers:
        headers = _read_headers(request.headers)
    seconds = query.timeout_seconds
    return Ask(
        model=query.model,
        version=query.version,
        key=query.key,
        timeout=None if seconds is None else timedelta(seconds=seconds),
        request_id=headers.x_request_id,
        timeline=timeline_of(request),
    )


def _read_query(given: Mapping[str, str]) -> PredictQuery:
    try:
        return PredictQuery.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] != "extra_forbidden":
            raise _first_of(error) from None
        raise InputError(
            "query",
            expected=f"no parameter but {', '.join(PredictQuery.model_fields)}",
            found=shown(first["loc"][0]),
        ) from None


def _read_headers(given: Mapping[str, str]) -> PredictHeaders:
    try:
        return PredictHeaders.model_validate(dict(given))
    except ValidationError as error:
        raise _first_of(error) from None


def _first_of(error: ValidationError) -> InputError:
    return from_validation(error.errors(include_url=False)[0])


def _check_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    # Types such as application/cloudevents+json are JSON too.
    if media_type != _JSON and not _JSON_SUFFIXED.fullmatch(media_type):
        raise RequestError(
            415,
            InputError(
                "header Content-Type",
                expected=_JSON,
                found=repr(media_type[:80]) if media_type else "none",
                remedy="Send the body with -H 'Content-Type: application/json'.",
            ),
        )
