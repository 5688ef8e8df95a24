"""A bound on request bodies, kept on the bytes that really come."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_pipeline.http.refusal import RequestError
from shared.errors import InputError


class BodyLimit:
    """Stops reading a body as soon as it is longer than the limit, whatever its header says.

    FastAPI has a limit of its own, but answers in plain text when the header tells the length.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if announced.isdecimal() and int(announced) > self._max_bytes:
                raise self._too_large(f"{announced} announced")
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._too_large("more")
            return message

        await self._app(scope, counted, send)

    def _too_large(self, found: str) -> RequestError:
        return RequestError(
            413,
            InputError(
                "body",
                expected=f"at most {self._max_bytes} bytes",
                found=found,
                remedy="Send fewer mentions in a request.",
            ),
        )
