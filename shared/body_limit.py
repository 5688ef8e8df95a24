"""The limit on request bodies in front of an ASGI application. It needs no web framework."""

from __future__ import annotations

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from shared.bearer import Application, Receive, Refuse, Scope, Send
from shared.errors import InputError

_DIGITS = 18
"""Of an announced length: a longer number is far too large, cut or not."""


class BodyLimit:
    """Answers 413 to a body that is larger than allowed, whatever its headers say.

    A body that announces itself as too large is not read at all. Of any other the bytes are
    counted as they come; when there are too many, the application sees what it would see had the
    client left, and whatever it answers to that is not sent.
    """

    def __init__(self, app: Application, *, max_bytes: int, refuse: Refuse, remedy: str) -> None:
        """Stand in front of an application.

        Args:
            app: reads the bodies.
            max_bytes: of a body.
            refuse: answers requests whose body is larger.
            remedy: what their senders are told to do.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._remedy = remedy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its bytes, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (announced := _announced(scope)) > self._max_bytes:
            await self._turn_away(scope, send, f"{announced} announced")
            return
        seen, answered = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen
            if seen <= self._max_bytes:
                message = await receive()
                seen += len(message.get("body", b""))
            return message if seen <= self._max_bytes else {"type": "http.disconnect"}

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            if seen <= self._max_bytes or answered:
                answered = True
                await send(message)

        try:
            await self._app(scope, counted, guarded)
        except Exception:
            if seen <= self._max_bytes or answered:
                raise
        if seen > self._max_bytes and not answered:
            await self._turn_away(scope, send, "more")

    async def _turn_away(self, scope: Scope, send: Send, found: str) -> None:
        error = InputError(
            "body", expected=f"at most {self._max_bytes} bytes", found=found, remedy=self._remedy
        )
        # What is left of the body must not be taken for the connection's next request.
        headers = {"Connection": "close"}
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        await self._refuse(send, scope["path"], status, error, headers)


def _announced(scope: Scope) -> int:
    """Return the length that the header tells, 0 if it tells none."""
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    # Python refuses to read numbers of more than 4,300 digits.
    return int(told[:_DIGITS]) if told.isdigit() else 0
