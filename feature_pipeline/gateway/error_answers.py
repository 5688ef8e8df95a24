"""How errors leave the gateway: place, expected, found and remedy; never what is inside."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.errors import FtiError, InputError
from shared.logs import get_logger

_log = get_logger(__name__)


class BodyTooLargeError(FtiError):
    """A request's body is larger than the service takes."""


def answer_errors(app: FastAPI) -> None:
    """Give an application its answers to errors: ``{"error": {…}}`` with the right status."""

    @app.exception_handler(FtiError)
    async def on_fti_error(_: Request, error: FtiError) -> JSONResponse:
        status = 413 if isinstance(error, BodyTooLargeError) else 400
        return JSONResponse({"error": error.as_dict()}, status_code=status)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        answer = InputError(
            f"{request.method} {request.url.path}",
            expected="a path and method that this service has (see /docs)",
            found=str(error.detail),
        )
        return JSONResponse({"error": answer.as_dict()}, status_code=error.status_code)

    @app.exception_handler(Exception)
    async def on_failure(request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", path=request.url.path, exc_info=error)
        answer = FtiError(
            f"{request.method} {request.url.path}",
            expected="the service to do its work",
            found="a failure inside it",
            remedy="Send it again: what was appended already is a duplicate then.",
        )
        return JSONResponse({"error": answer.as_dict()}, status_code=500)
