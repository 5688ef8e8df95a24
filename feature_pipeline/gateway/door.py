"""The door: what could not be taken now is turned away before its body is read."""

from __future__ import annotations

from dataclasses import dataclass

from feature_pipeline.gateway.access import client_of, takes_events
from feature_pipeline.gateway.backlog import Backlog
from feature_pipeline.gateway.metrics import GatewayMetrics
from feature_pipeline.gateway.rate_limit import RateLimit
from feature_pipeline.gateway.refusal import (
    TurnedAwayError,
    log_behind,
    refuse,
    too_fast,
    too_many_requests,
)
from shared.bearer import Application, Receive, Scope, Send


@dataclass(frozen=True)
class Limits:
    """What a gateway takes.

    Attributes:
        body_bytes: of a request.
        body_seconds: in which a request's body must have come.
        requests: with events, at a time; what they hold in memory is bounded by it.
        events_per_second: of a client.
        burst: events of a client at once, after a pause; no less than those of a batch.
    """

    body_bytes: int = 4_000_000
    body_seconds: float = 30.0
    requests: int = 64
    events_per_second: float = 10_000.0
    burst: int = 10_000


class Door:
    """Refuses events while the stream is behind, or others fill the gateway, or come too fast.

    A request counts as one event here, whatever is in it; the route counts the others.
    """

    def __init__(
        self,
        app: Application,
        *,
        requests: int,
        rates: RateLimit,
        backlog: Backlog,
        metrics: GatewayMetrics,
    ) -> None:
        self._app = app
        self._requests = requests
        self._rates = rates
        self._backlog = backlog
        self._metrics = metrics
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429 or 503."""
        if scope["type"] != "http" or not takes_events(scope["path"]):
            await self._app(scope, receive, send)
            return
        error = self._objection(client_of(scope))
        if error is not None:
            self._metrics.refused.labels(error.reason).inc()
            await refuse(send, scope["path"], error.status, error, error.headers)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    def _objection(self, client: str) -> TurnedAwayError | None:
        if self._backlog.exceeded:
            return log_behind(self._backlog.entries, self._backlog.limit)
        if self._inside >= self._requests:
            return too_many_requests(self._requests)
        wait = self._rates.take(client, 1)
        return too_fast(client, wait) if wait else None
