"""Errors over HTTP: always the same four parts, and never the inside of the service."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.bearer import Send
from shared.errors import FtiError, StateError
from shared.logs import get_logger
from shared.refusal import send_json
from shared.validation import expectation, found, place
from training_pipeline.problem import Problem

_log = get_logger(__name__)


class RequestError(FtiError):
    """A request that the service refuses, with the HTTP status that says so."""

    def __init__(
        self, status: int, place: str, *, expected: str, found: str, remedy: str = ""
    ) -> None:
        super().__init__(place, expected=expected, found=found, remedy=remedy)
        self.status = status


def problem_response(
    status: int, problem: Problem, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the answer that tells of a problem."""
    return JSONResponse({"error": problem.model_dump()}, status_code=status, headers=headers)


async def refuse(
    send: Send, path: str, status: int, error: FtiError, headers: dict[str, str]
) -> None:
    """Answer a request that does not reach a route; see ``shared.bearer.Refuse``."""
    del path  # all of the service's errors have one shape
    await send_json(send, status, {"error": Problem.of(error).model_dump()}, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Give every failure of a request the same shape."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:  # noqa: ARG001 - Starlette's
        return problem_response(error.status, Problem.of(error))

    @app.exception_handler(StateError)
    async def away(request: Request, error: StateError) -> JSONResponse:
        _log.error("request failed", path=request.url.path, exc_info=error)
        problem = Problem(
            place="run store",
            expected="an answer",
            found="none",
            remedy="Ask again in a while; /readyz tells when it is back.",
        )
        return problem_response(503, problem, {"Retry-After": "5"})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if isinstance(first["input"], bytes):  # FastAPI does not read a body of another type
            given = request.headers.get("content-type", "none")
            problem = Problem(
                place="header.content-type", expected="application/json", found=given[:200]
            )
            return problem_response(422, problem)
        return problem_response(422, _of_validation(first))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's own: bytes that are no text, nesting without end, numbers without end.
            unreadable = Problem(
                place="body", expected="JSON", found="bytes that cannot be read so"
            )
            return problem_response(error.status_code, unreadable)
        problem = Problem(
            place=f"{request.method} {request.url.path}",
            expected="a path and a method of this service",
            found=error.detail,
            remedy="/docs lists them.",
        )
        return problem_response(error.status_code, problem, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", path=request.url.path, exc_info=error)
        problem = Problem(
            place=f"{request.method} {request.url.path}",
            expected="an answer",
            found="a fault in the service",
            remedy="The log of the service tells more.",
        )
        return problem_response(500, problem)


def _of_validation(first: Mapping[str, Any]) -> Problem:
    if first["type"] == "json_invalid":
        return Problem(place="body", expected="JSON", found="something else")
    return Problem(place=place(first["loc"]), expected=expectation(first), found=found(first))
