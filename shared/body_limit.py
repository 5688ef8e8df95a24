"""The limits on request bodies in front of an ASGI application. They need no web framework."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.bearer import Application, Receive, Refuse, Scope, Send
from shared.errors import InputError

MAX_SECONDS = 60.0
"""For a body to come whole."""

_DIGITS = 18
"""Of an announced length: a longer number is far too large, cut or not."""

_GONE: MutableMapping[str, Any] = {"type": "http.disconnect"}


@dataclass(frozen=True)
class _Fault:
    """Why a body is refused."""

    status: HTTPStatus
    error: InputError


@dataclass(frozen=True)
class _Limits:
    """What bodies are allowed."""

    max_bytes: int
    max_seconds: float
    remedy: str

    def too_large(self, found: str) -> _Fault:
        expected = f"at most {self.max_bytes} bytes"
        error = InputError("body", expected=expected, found=found, remedy=self.remedy)
        return _Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error)

    def too_slow(self, seen: int) -> _Fault:
        error = InputError(
            "body",
            expected=f"all of it within {self.max_seconds:g} s",
            found=f"{seen} bytes by then",
            remedy="Send it faster, or less at a time.",
        )
        return _Fault(HTTPStatus.REQUEST_TIMEOUT, error)


class _Body:
    """The body of one request as it comes, until it breaks a limit."""

    def __init__(self, receive: Receive, limits: _Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._late_at = asyncio.get_running_loop().time() + limits.max_seconds
        self._seen = 0
        self._more = True
        self.fault: _Fault | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message; once a limit is broken, that the client has left."""
        if self.fault is not None:
            return _GONE
        if not self._more:
            # What comes after the body is the news of the end: that has all the time.
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._late_at):
                message = await self._receive()
        except TimeoutError:
            self.fault = self._limits.too_slow(self._seen)
            return _GONE
        self._seen += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        if self._seen > self._limits.max_bytes:
            self.fault = self._limits.too_large("more")
            return _GONE
        return message


class BodyLimit:
    """Answers 413 to a body that is larger than allowed, 408 to one that does not come whole.

    A body that announces itself as too large is not read at all. Of any other the bytes are
    counted as they come, whatever its headers say. With the first that is too many or too late the
    application sees what it would see had the client left, and its answer to that is not sent.
    """

    def __init__(
        self,
        app: Application,
        *,
        max_bytes: int,
        refuse: Refuse,
        remedy: str,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        """Stand in front of an application.

        Args:
            app: reads the bodies.
            max_bytes: of a body.
            refuse: answers requests whose body is refused.
            remedy: what senders of larger ones are told to do.
            max_seconds: from a request's head to the end of its body.
        """
        self._app = app
        self._limits = _Limits(max_bytes, max_seconds, remedy)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, watching its body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (announced := _announced(scope)) > self._limits.max_bytes:
            await self._turn_away(scope, send, self._limits.too_large(f"{announced} announced"))
            return
        body, answered = _Body(receive, self._limits), False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            if body.fault is None or answered:
                answered = True
                await send(message)

        try:
            await self._app(scope, body.receive, guarded)
        except Exception:
            if body.fault is None or answered:
                raise
        if body.fault is not None and not answered:
            await self._turn_away(scope, send, body.fault)

    async def _turn_away(self, scope: Scope, send: Send, fault: _Fault) -> None:
        # What is left of the body must not be taken for the connection's next request.
        headers = {"Connection": "close"}
        await self._refuse(send, scope["path"], fault.status, fault.error, headers)


def _announced(scope: Scope) -> int:
    """Return the length that the header tells, 0 if it tells none."""
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    # Python refuses to read numbers of more than 4,300 digits.
    return int(told[:_DIGITS]) if told.isdigit() else 0
