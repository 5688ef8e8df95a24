"""The door: what could not be answered in time is turned away before it is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from inference_pipeline.engine.admission import OverloadedError
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.http.paths import is_prediction
from inference_pipeline.http.refusal import refuse


class Door:
    """Refuses predictions while the queue is too long, at the least cost: no parsing, no routing.

    A server that has more to do than it can must not spend its time on saying so.
    """

    def __init__(
        self, app: ASGIApp, check_capacity: Callable[[], None], metrics: EngineMetrics
    ) -> None:
        self._app = app
        self._check_capacity = check_capacity
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429."""
        if scope["type"] == "http" and is_prediction(scope["path"]):
            try:
                self._check_capacity()
            except OverloadedError as error:
                self._metrics.refused.labels("door").inc()
                waits = {"Retry-After": retry_after(error)}
                await refuse(send, scope["path"], HTTPStatus.TOO_MANY_REQUESTS, error, waits)
                return
        await self._app(scope, receive, send)


def retry_after(error: OverloadedError) -> str:
    """Return the header Retry-After, in whole seconds as HTTP has it."""
    return str(max(1, math.ceil(error.retry_after.total_seconds())))
