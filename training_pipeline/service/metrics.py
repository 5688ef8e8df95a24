"""The metrics of the training service, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from training_pipeline.service.runs import RunState, RunStore

_RUN_SECONDS = (10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600)


class ServiceMetrics:
    """Counts runs and requests."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._registry = CollectorRegistry()
        self._runs = Gauge(
            "fti_training_runs", "Requested runs by state", ["state"], registry=self._registry
        )
        self._seconds = Histogram(
            "fti_training_run_seconds",
            "Time from the start of a run to its end",
            ["state"],
            buckets=_RUN_SECONDS,
            registry=self._registry,
        )
        self._requests = Counter(
            "fti_training_http_requests",
            "HTTP requests by method, route and status",
            ["method", "route", "status"],
            registry=self._registry,
        )

    def run_finished(self, state: RunState, seconds: float) -> None:
        """Count a run that reached a final state."""
        self._seconds.labels(state.value).observe(seconds)

    def request_answered(self, method: str, route: str, status: int) -> None:
        """Count a request; ``route`` is the pattern, so that ids make no new series."""
        self._requests.labels(method, route, str(status)).inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        counts = self._store.counts()
        for state in RunState:
            self._runs.labels(state.value).set(counts.get(state, 0))
        return generate_latest(self._registry)
