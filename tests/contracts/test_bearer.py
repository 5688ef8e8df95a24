"""The check of tokens in front of any ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from hashlib import sha256
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

from shared.bearer import ANY_SCOPE, BearerTokens, Receive, Scope, Send
from shared.errors import FtiError
from shared.tokens import Client, TokenBook

TOKEN = b"a1" * 20
NEEDED = {"/open": None, "/any": ANY_SCOPE, "/write": "write", "/read": "read"}


class Gate:
    """An application behind the check, and all that happened."""

    def __init__(self) -> None:
        self.passed: list[tuple[str, object]] = []
        self.sent: list[MutableMapping[str, Any]] = []
        self.refused: list[tuple[int, str]] = []
        self.counted: list[str] = []
        client = Client("ann", frozenset({"read"}))
        self._guard = BearerTokens(
            self._app,
            tokens=TokenBook([(sha256(TOKEN).digest(), client)]),
            needed=lambda method, path: NEEDED[path] if method == "GET" else "write",
            refuse=self._refuse,
            count=self.counted.append,
        )

    def ask(
        self, path: str, *authorization: bytes, kind: str = "http", method: str = "GET"
    ) -> None:
        """Send a request with some headers."""
        headers = [(b"authorization", value) for value in authorization]
        scope = {"type": kind, "method": method, "path": path, "headers": headers}
        asyncio.run(self._guard(scope, self._nothing, self._send))

    async def _app(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.passed.append((scope["path"], get_contextvars().get("client")))

    async def _nothing(self) -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)

    async def _refuse(
        self, _send: Send, _path: str, status: int, _error: FtiError, headers: dict[str, str]
    ) -> None:
        self.refused.append((status, headers["WWW-Authenticate"]))


@pytest.fixture
def gate() -> Gate:
    """An application that knows one token, which may read."""
    return Gate()


def test_a_method_may_need_more(gate: Gate) -> None:
    """Who may read a path may not change what is there."""
    gate.ask("/read", b"Bearer " + TOKEN, method="DELETE")
    assert gate.passed == []
    assert [status for status, _ in gate.refused] == [403]


def test_who_may_passes_and_is_named_in_the_log(gate: Gate) -> None:
    """A request that needs no token is nobody's; the others carry their client's name."""
    gate.ask("/open")
    gate.ask("/any", b"Bearer " + TOKEN)
    gate.ask("/read", b"BEARER  " + TOKEN)
    assert gate.passed == [("/open", None), ("/any", "ann"), ("/read", "ann")]
    assert gate.refused == []
    assert get_contextvars() == {}


@pytest.mark.parametrize(
    ("path", "given", "status", "reason"),
    [
        ("/any", [], 401, "missing"),
        ("/any", [b"Bearer "], 401, "missing"),
        ("/any", [b"Basic " + TOKEN], 401, "missing"),
        ("/any", [TOKEN], 401, "missing"),
        ("/any", [b"Bearer " + TOKEN, b"Bearer " + TOKEN], 401, "missing"),
        ("/any", [b"Bearer " + TOKEN + b"\xff"], 401, "unknown"),
        ("/any", [b"Bearer " + sha256(TOKEN).hexdigest().encode()], 401, "unknown"),
        ("/write", [b"Bearer " + TOKEN], 403, "scope"),
    ],
)
def test_who_may_not_is_told_and_counted(
    gate: Gate, path: str, given: list[bytes], status: int, reason: str
) -> None:
    """The application sees nothing of it; what was wrong stands in challenge and count."""
    gate.ask(path, *given)
    assert gate.passed == []
    assert gate.counted == [reason]
    challenge = {"missing": "Bearer", "unknown": "invalid_token", "scope": 'scope="write"'}[reason]
    assert gate.refused[0][0] == status
    assert challenge in gate.refused[0][1]


def test_websockets_are_closed(gate: Gate) -> None:
    """No service has any; one that came later would not be open by accident."""
    gate.ask("/open", b"Bearer " + TOKEN, kind="websocket")
    assert gate.passed == []
    assert gate.sent == [{"type": "websocket.close", "code": 1008}]


def test_the_start_of_an_application_needs_no_token(gate: Gate) -> None:
    """What the server itself says to the application passes."""
    gate.ask("/open", kind="lifespan")
    assert gate.passed == [("/open", None)]
