"""Failures in the protocol's shape: the right status and ``{"error": "..."}``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from inference_pipeline.engine.admission import DeadlineExceededError, OverloadedError
from inference_pipeline.engine.scheduler import ModelFailureError
from inference_pipeline.http.disconnect import ClientGoneError
from inference_pipeline.http.door import retry_after
from inference_pipeline.oip.encodings import BodyTooLargeError, UnsupportedEncodingError
from inference_pipeline.oip.schemas import ErrorAnswer
from inference_pipeline.versions.registry import RegistryUnreachableError
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError
from shared.errors import ContractError, FtiError, InputError
from shared.logs import get_logger

log = get_logger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

# The first that fits counts. What is not here is nothing that a client could mend, or should see.
_STATUS: tuple[tuple[type[FtiError], int], ...] = (
    (BodyTooLargeError, 413),
    (UnsupportedEncodingError, 415),
    (UnknownModelError, 404),
    (InputError, 400),
    (OverloadedError, 429),
    (ModelFailureError, 500),
    (NoVersionError, 503),
    (RegistryUnreachableError, 503),
    (ContractError, 409),
    (DeadlineExceededError, 504),
)
_DESCRIPTIONS = {
    400: "The request does not fit",
    404: "No such model or version",
    409: "The version failed a check and may not serve",
    413: "The body is too large",
    415: "The body's encoding is not read here",
    429: "Too much is asked for at the moment; Retry-After says when to try again",
    500: "A fault of the server",
    503: "No version is in service, or the registry does not answer",
    504: "The deadline passed",
}

_INTERNAL = "a fault of the server; its log tells more"

Responses = dict[int | str, dict[str, Any]]


def responses(*statuses: int) -> Responses:
    """Return how the failures of a route are documented."""
    return {
        status: {"model": ErrorAnswer, "description": _DESCRIPTIONS[status]} for status in statuses
    }


def error_answer(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error as the protocol's clients read it."""
    return JSONResponse({"error": message}, status_code=status, headers=headers)


class OipRoute(APIRoute):
    """A route whose failures take the protocol's shape. Tracebacks stay in the log."""

    def get_route_handler(self) -> Handler:
        """Return the handler of requests, guarded."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except FtiError as error:
                return _from_fti(error)
            except (ClientGoneError, ClientDisconnect):
                # Nobody reads it; the number, which nginx gave it, is for the metrics.
                return Response(status_code=499)
            except HTTPException as error:
                # Its detail was written to be shown: see `http.refusal`.
                return error_answer(error.status_code, error.detail, error.headers)
            except RequestValidationError:
                return error_answer(400, "the request cannot be read")
            except Exception:
                log.exception("request_failed", path=request.url.path)
                return error_answer(500, _INTERNAL)

        return guarded


def _from_fti(error: FtiError) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        log.error("request_failed", exc_info=error)
        return error_answer(500, _INTERNAL)
    headers = {"Retry-After": retry_after(error)} if isinstance(error, OverloadedError) else None
    return error_answer(status, str(error), headers)
