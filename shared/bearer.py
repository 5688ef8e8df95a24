"""The check of bearer tokens in front of an ASGI application. It needs no web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from structlog.contextvars import bound_contextvars

from shared.errors import FtiError, InputError
from shared.tokens import TokenBook

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT = "client"
"""Where a request's state holds the name of the client whose token it carries."""

ANY_SCOPE = ""
"""What is asked of a token where it need not allow anything in particular."""

_SCHEME = b"bearer "
_POLICY_VIOLATION = 1008


class Refuse(Protocol):
    """Answers a request with an error, in the service's own shape."""

    async def __call__(
        self, send: Send, path: str, status: int, error: FtiError, headers: dict[str, str], /
    ) -> None:
        """Send the answer."""


class BearerTokens:
    """Lets requests pass that carry a token which allows what they ask for; websockets never.

    Log lines of a request that passed carry its client's name, as `client`, and so does its state.
    """

    def __init__(
        self,
        app: Application,
        *,
        tokens: TokenBook,
        needed: Callable[[str, str], str | None],
        refuse: Refuse,
        count: Callable[[str], None],
    ) -> None:
        """Stand in front of an application.

        Args:
            app: is asked what may be asked.
            tokens: who may ask.
            needed: returns the scope that a method and a path need, `ANY_SCOPE` where any token
                will do, None where none is needed.
            refuse: answers the other requests.
            count: is told why a request was refused: ``missing``, ``unknown`` or ``scope``.
        """
        self._app = app
        self._tokens = tokens
        self._needed = needed
        self._refuse = refuse
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 or 403."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        needed = self._needed(scope["method"], scope["path"])
        if needed is None:
            await self._app(scope, receive, send)
            return
        token = _token(scope)
        client = None if token is None else self._tokens.find(token)
        if client is None:
            reason = "missing" if token is None else "unknown"
            await self._turn_away(send, scope["path"], reason, needed)
        elif needed and needed not in client.scopes:
            await self._turn_away(send, scope["path"], "scope", needed)
        else:
            scope.setdefault("state", {})[CLIENT] = client.name
            with bound_contextvars(client=client.name):
                await self._app(scope, receive, send)

    async def _turn_away(self, send: Send, path: str, reason: str, needed: str) -> None:
        self._count(reason)
        if reason == "scope":
            status = HTTPStatus.FORBIDDEN
            expected, found = f"a token with the scope {needed}", "one without it"
            challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
        else:
            status = HTTPStatus.UNAUTHORIZED
            expected = "a bearer token of this service"
            found = "none" if reason == "missing" else "another one"
            challenge = "Bearer" if reason == "missing" else 'Bearer error="invalid_token"'
        error = InputError("header Authorization", expected=expected, found=found)
        await self._refuse(send, path, status, error, {"WWW-Authenticate": challenge})


def _token(scope: Scope) -> bytes | None:
    """Return the bearer token of a request; None without one, or with more than one header."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1 or given[0][: len(_SCHEME)].lower() != _SCHEME:
        return None
    token: bytes = given[0][len(_SCHEME) :].strip()
    return token or None
