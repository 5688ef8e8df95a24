"""How errors leave the gateway: place, expected, found and remedy; never what is inside."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from feature_pipeline.gateway.refusal import TurnedAwayError
from shared.errors import FtiError, InputError
from shared.logs import get_logger

_log = get_logger(__name__)


class RequestError(InputError):
    """A request that is refused before its body is understood.

    Attributes:
        status: of the answer.
    """

    def __init__(
        self,
        place: str,
        *,
        expected: str,
        found: str,
        remedy: str = "",
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
    ) -> None:
        super().__init__(place, expected=expected, found=found, remedy=remedy)
        self.status = status


def answer_errors(app: FastAPI) -> None:
    """Give an application its answers to errors: ``{"error": {…}}`` with the right status."""

    @app.exception_handler(InputError)
    async def on_input_error(_: Request, error: InputError) -> JSONResponse:
        status = error.status if isinstance(error, RequestError) else HTTPStatus.BAD_REQUEST
        return JSONResponse({"error": error.as_dict()}, status_code=status)

    @app.exception_handler(TurnedAwayError)
    async def on_turned_away(_: Request, error: TurnedAwayError) -> JSONResponse:
        return JSONResponse(
            {"error": error.as_dict()}, status_code=error.status, headers=error.headers
        )

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        answer = InputError(
            f"{request.method} {request.url.path}",
            expected="a path and method that this service has (see /docs)",
            found=str(error.detail),
        )
        return JSONResponse(
            {"error": answer.as_dict()}, status_code=error.status_code, headers=error.headers
        )

    @app.exception_handler(ClientDisconnect)
    async def on_client_gone(_request: Request, _error: ClientDisconnect) -> Response:
        # Nobody reads it; the number is the one that nginx gave it.
        return Response(status_code=499)

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
