"""The count of answers. It looks at them as they pass, so streams and cut requests count, too."""

from __future__ import annotations

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from shared.bearer import Application, Receive, Scope, Send
from training_pipeline.service.api.metrics import ServiceMetrics


class Counting:
    """Counts each answer under its route's pattern: what a client makes up adds no series."""

    def __init__(self, app: Application, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer when it begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                route, status = getattr(scope.get("route"), "path", "none"), message["status"]
                # A method that no route has is the client's invention, and would be a series too.
                known = route != "none" and status != HTTPStatus.METHOD_NOT_ALLOWED
                method = scope["method"] if known else "any"
                self._metrics.request_answered(method, route, status)
            await send(message)

        await self._app(scope, receive, counted)
