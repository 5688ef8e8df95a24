"""The limit on request bodies, counted as the bytes arrive."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from training_pipeline.problem import Problem
from training_pipeline.service.http_errors import problem_response


class BodyLimit:
    """Answers 413 to a body that is larger than allowed, whatever its headers say."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit, then hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Bodies here are small by contract, so they are read before the request is handled.
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
            if message["type"] != "http.request" or not message.get("more_body", False):
                break

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            place="body", expected=f"at most {self._max_bytes} bytes", found="more than that"
        )
        response = problem_response(413, problem, {"connection": "close"})
        await response(scope, receive, send)
