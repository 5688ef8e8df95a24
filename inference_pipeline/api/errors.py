"""Failures as HTTP answers: the right status and one shape. Tracebacks stay in the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from inference_pipeline.api.schemas import (
    MANY,
    ONE,
    ErrorAnswer,
    ErrorDetail,
    MentionToPredict,
)
from inference_pipeline.engine.admission import DeadlineExceededError, OverloadedError
from inference_pipeline.engine.scheduler import ModelFailureError
from inference_pipeline.http.disconnect import ClientGoneError
from inference_pipeline.http.door import retry_after
from inference_pipeline.http.refusal import RequestError
from inference_pipeline.versions.registry import RegistryUnreachableError
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError
from shared.errors import FtiError, InputError
from shared.logs import get_logger
from shared.validation import expectation, found, shown

log = get_logger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Give every failure of an app its answer."""

    @app.exception_handler(RequestValidationError)
    async def _(_request: Request, exc: RequestValidationError) -> JSONResponse:
        details = exc.errors()[0]
        # FastAPI's location begins with whether it is the path or the query.
        return _answer(422, from_validation({**details, "loc": details["loc"][1:]}))

    @app.exception_handler(HTTPException)
    async def _(request: Request, exc: HTTPException) -> JSONResponse:
        headers = dict(exc.headers or {})
        return _answer(exc.status_code, _from_http(request, exc), headers)

    @app.exception_handler(FtiError)
    async def _(_request: Request, exc: FtiError) -> JSONResponse:
        status = status_of(exc)
        if status is None:
            log.error("request_failed", exc_info=exc)
            return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, _internal())
        waits = {"Retry-After": retry_after(exc)} if isinstance(exc, OverloadedError) else None
        return _answer(status, exc, waits)

    @app.exception_handler(ClientGoneError)
    @app.exception_handler(ClientDisconnect)
    async def _(_request: Request, _exc: Exception) -> Response:
        # Nobody reads it; the number, which nginx gave it, is for the metrics.
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def _(_request: Request, _exc: Exception) -> JSONResponse:
        return _answer(500, _internal())


_STATUSES: tuple[tuple[type[FtiError], HTTPStatus], ...] = (
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnknownModelError, HTTPStatus.NOT_FOUND),
    (NoVersionError, HTTPStatus.SERVICE_UNAVAILABLE),
    (RegistryUnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (OverloadedError, HTTPStatus.TOO_MANY_REQUESTS),
    (DeadlineExceededError, HTTPStatus.GATEWAY_TIMEOUT),
    (ModelFailureError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def status_of(error: FtiError) -> HTTPStatus | None:
    """Return the status of an error's answer, None for one that is no client's matter."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), None)


def _answer(status: int, error: FtiError, headers: dict[str, str] | None = None) -> JSONResponse:
    body = ErrorAnswer(error=ErrorDetail.of(error))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def _from_http(request: Request, exc: HTTPException) -> FtiError:
    if isinstance(exc, RequestError):
        return exc.error
    if exc.status_code == HTTPStatus.NOT_FOUND:
        return InputError(
            request.url.path,
            expected="a path of this service",
            found="an unknown one",
            remedy="GET /openapi.json lists them.",
        )
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (exc.headers or {}).get("Allow", "another one")
        return InputError(request.url.path, expected=f"method {allowed}", found=request.method)
    return InputError("request", expected="one that can be read", found=str(exc.detail)[:200])


def from_validation(error: Mapping[str, Any]) -> InputError:
    """Return what pydantic found, with the place as people write it: ``mentions[3].text``."""
    loc = error["loc"]
    match error["type"]:
        case "union_tag_not_found":
            return InputError(
                "body",
                expected="an object with the field text, or with the field mentions",
                found=shown(error["input"]),
            )
        case "extra_forbidden":
            return InputError(
                _place(loc),
                expected=f"the fields {', '.join(MentionToPredict.model_fields)}, "
                "or the field mentions alone",
                found="a field of another name",
            )
        case _:
            return InputError(
                _place(loc),
                expected=expectation(error),
                found=found(error),
            )


def _place(loc: Sequence[str | int]) -> str:
    parts = loc[1:] if loc and loc[0] in {ONE, MANY} else loc
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "body"


def _internal() -> FtiError:
    return FtiError(
        "inference pipeline",
        expected="an answer",
        found="a fault of the server",
        remedy="The server's log tells more.",
    )
