"""The limits on bodies in front of any ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from shared.bearer import Receive, Scope, Send
from shared.body_limit import BodyLimit
from shared.errors import FtiError
from shared.refusal import send_json

Message = MutableMapping[str, Any]


class Server:
    """A server that hands chunks of a body to a guarded application, and what came of it."""

    def __init__(
        self, *chunks: bytes, announced: bytes | None = None, stalls: bool = False
    ) -> None:
        self.read = b""
        self.sent: list[Message] = []
        self._coming = list(chunks)
        self._stalls = stalls
        self._headers = [] if announced is None else [(b"content-length", announced)]

    def ask(self, app: Any, *, max_seconds: float = 60.0) -> int:
        """Send the request to an application behind a limit of ten bytes; return the status."""
        guarded = BodyLimit(
            app, max_bytes=10, refuse=_refuse, remedy="Send less.", max_seconds=max_seconds
        )
        scope = {"type": "http", "path": "/", "headers": self._headers}
        asyncio.run(guarded(scope, self._receive, self._send))
        return int(self.sent[0]["status"])

    async def _receive(self) -> Message:
        if not self._coming:
            await asyncio.Event().wait()
        chunk = self._coming.pop(0)
        self.read += chunk
        more = bool(self._coming) or self._stalls
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


async def _refuse(
    send: Send, _path: str, status: int, error: FtiError, headers: dict[str, str]
) -> None:
    await send_json(send, status, {"error": error.as_dict()}, headers)


async def reading(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body; answer 200, or 499 when the client has left."""
    more = True
    status = 200
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            status = 499
        more = message.get("more_body", False)
    await send_json(send, status, {}, {})


async def raising(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Fail when the client has left, as frameworks do."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ConnectionError


@pytest.mark.parametrize(
    ("chunks", "announced", "status"),
    [
        ([b"0123456789"], b"10", 200),
        ([b"01234", b"56789"], None, 200),
        ([b"01234", b"567890"], None, 413),
        ([b"01234567890"], b"5", 413),
        ([b"01234"], b"five", 200),
    ],
)
def test_bytes_are_counted_as_they_come(
    chunks: list[bytes], announced: bytes | None, status: int
) -> None:
    """What counts is what comes; exactly the limit is allowed."""
    assert Server(*chunks, announced=announced).ask(reading) == status


def test_body_announced_as_too_large_is_not_read() -> None:
    """Nothing is read, and the connection is not used for another request."""
    server = Server(b"x" * 11, announced=b"11")
    assert server.ask(reading) == 413
    assert server.read == b""
    assert (b"connection", b"close") in server.sent[0]["headers"]


def test_reading_stops_at_the_limit() -> None:
    """However the application takes it, it is 413, and no more chunks are read."""
    for app in (reading, raising):
        server = Server(b"x" * 11, *[b"y"] * 5)
        assert server.ask(app) == 413
        assert (server.read, len(server.sent)) == (b"x" * 11, 2)


def test_body_that_never_comes_whole_is_given_up() -> None:
    """Whoever waits for the rest is let go after a while, and the sender is told why."""
    for app in (reading, raising):
        server = Server(b"half", announced=b"8", stalls=True)
        assert server.ask(app, max_seconds=0.05) == 408
        assert (b"connection", b"close") in server.sent[0]["headers"]
        assert b"4 bytes by then" in server.sent[1]["body"]


def test_time_for_the_body_is_no_time_for_the_answer() -> None:
    """An application that waits for its client to leave may wait longer than for a body."""

    async def lasting(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), timeout=0.1)
        await send_json(send, 200, {}, {})

    assert Server(b"whole").ask(lasting, max_seconds=0.02) == 200


def test_failure_of_the_application_is_its_own() -> None:
    """Below the limit errors pass, and so does what is no request."""

    async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        Server(b"x").ask(failing)
