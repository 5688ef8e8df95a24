"""A route without a framework between the request and its endpoint."""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls its endpoint with the request alone, and sends what it returns.

    FastAPI finds the route, documents it and answers its errors. It resolves no dependencies, not
    those of a router either, and checks neither request nor answer: that would take as long as all
    of our own part of a prediction, see ``docs/adr/0009-direct-prediction-route.md``.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in (self.methods or ()):
            # Found by its path alone: FastAPI tells which methods there are.
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)
