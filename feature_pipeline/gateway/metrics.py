"""Figures of the gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from feature_pipeline.gateway.intake import Kind, Outcome


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
        self.log_entries = Gauge(
            "fti_gateway_log_entries", "Entries in the event log", registry=self.registry
        )

    def count(self, kind: Kind, outcome: Outcome) -> None:
        """Count a batch."""
        self._events.labels(kind, "accepted").inc(outcome.accepted)
        self._events.labels(kind, "duplicate").inc(outcome.duplicates)
        self._events.labels(kind, "rejected").inc(len(outcome.rejected))
