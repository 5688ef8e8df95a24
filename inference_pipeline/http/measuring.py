"""Counting and timing of requests."""

from __future__ import annotations

import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_pipeline.metrics import Metrics


class Measuring:
    """Counts each request under its route's template: a path that nobody knows adds no series."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its status and how long it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # What a failure before the first byte of an answer becomes.
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            # A method that no route has is the client's invention, and would be a series too.
            known = route != "unknown" and status != HTTPStatus.METHOD_NOT_ALLOWED
            method = scope["method"] if known else "any"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - started)
