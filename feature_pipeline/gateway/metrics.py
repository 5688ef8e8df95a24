"""Figures of the gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from feature_pipeline.gateway.batch import Kind
from feature_pipeline.gateway.intake import Outcome
from shared.bearer import Refuse, Send
from shared.errors import FtiError


class GatewayMetrics:
    """Counters in a registry of their own, so that two applications in a process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "fti_gateway_events_total",
            "Posted events by kind and what became of them",
            ["kind", "status"],
            registry=self.registry,
        )
        self.refused = Counter(
            "fti_gateway_refused_requests_total",
            "Requests that were turned away, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.log_entries = Gauge(
            "fti_gateway_log_entries", "Entries in the event log", registry=self.registry
        )
        self.backlog = Gauge(
            "fti_gateway_backlog_entries",
            "Entries that wait for the stream to save its state",
            registry=self.registry,
        )
        self.dead_letter_bytes = Gauge(
            "fti_gateway_dead_letter_bytes",
            "What the dead letters take on the disk",
            registry=self.registry,
        )

    def counting(self, reason: str, refuse: Refuse) -> Refuse:
        """Return what refuses requests, and counts them."""

        async def counted(
            send: Send, path: str, status: int, error: FtiError, headers: dict[str, str]
        ) -> None:
            self.refused.labels(reason).inc()
            await refuse(send, path, status, error, headers)

        return counted

    def count(self, kind: Kind, outcome: Outcome) -> None:
        """Count a batch."""
        self._events.labels(kind, "accepted").inc(outcome.accepted)
        self._events.labels(kind, "duplicate").inc(outcome.duplicates)
        self._events.labels(kind, "rejected").inc(len(outcome.rejected))
