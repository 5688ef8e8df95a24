"""The door: what could not be answered in time is turned away before it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from inference_pipeline.engine.admission import OverloadedError
from inference_pipeline.engine.metrics import EngineMetrics

_PREDICT = "/v1/predict"
_PROTOCOL = "/v2/"
_INFER = "/infer"


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
        if scope["type"] == "http" and _is_prediction(scope["path"]):
            try:
                self._check_capacity()
            except OverloadedError as error:
                self._metrics.refused.labels("door").inc()
                await _refuse(scope["path"], error, send)
                return
        await self._app(scope, receive, send)


def retry_after(error: OverloadedError) -> str:
    """Return the header Retry-After, in whole seconds as HTTP has it."""
    return str(max(1, math.ceil(error.retry_after.total_seconds())))


def _is_prediction(path: str) -> bool:
    return path == _PREDICT or (path.endswith(_INFER) and path.startswith(_PROTOCOL))


async def _refuse(path: str, error: OverloadedError, send: Send) -> None:
    told = str(error) if path.startswith(_PROTOCOL) else error.as_dict()
    body = json.dumps({"error": told}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", retry_after(error).encode()),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
