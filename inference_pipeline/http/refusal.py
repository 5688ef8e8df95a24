"""Requests that are turned away before a route looks at them, in the shape of their face."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import Send

from inference_pipeline.http.paths import speaks_protocol
from shared.errors import FtiError
from shared.refusal import send_json


class RequestError(HTTPException):
    """A request that is refused before its content is looked at."""

    def __init__(self, status: int, error: FtiError) -> None:
        super().__init__(status, detail=str(error))
        self.error = error


async def refuse(
    send: Send, path: str, status: int, error: FtiError, headers: Mapping[str, str]
) -> None:
    """Answer a request with an error, without the cost of a route or a framework.

    Args:
        send: of the request.
        path: of the request, which tells the face.
        status: of the answer.
        error: what to tell.
        headers: beside those of the body.
    """
    told = str(error) if speaks_protocol(path) else error.as_dict()
    await send_json(send, status, {"error": told}, headers)
