"""The metrics of the training service, for Prometheus: read off the run store when asked for."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from training_pipeline.service.api.readiness import WORKER_SILENCE
from training_pipeline.service.runs.run import FINAL, RunState
from training_pipeline.service.runs.store import SECONDS, Durations, RunStore

_NONE = Durations(runs=0, seconds=0.0, within=(0,) * len(SECONDS))


class ServiceMetrics:
    """Counts requests, and shows the figures of the store. Any replica shows the same."""

    def __init__(self, store: RunStore) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StoreFigures(store))
        self._requests = Counter(
            "fti_training_http_requests",
            "HTTP requests by method, route and status",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._unauthorized = Counter(
            "fti_training_unauthorized_requests",
            "Requests without a token that allows them",
            ["reason"],
            registry=self._registry,
        )
        self.listeners = Gauge(
            "fti_training_event_listeners",
            "Readers of event streams now",
            registry=self._registry,
        )

    def request_answered(self, method: str, route: str, status: int) -> None:
        """Count a request; ``route`` is the pattern, so that ids make no new series."""
        self._requests.labels(method, route, str(status)).inc()

    def turned_away(self, reason: str) -> None:
        """Count a request without a token that allows it."""
        self._unauthorized.labels(reason).inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format.

        Raises:
            StateError: the run store is away.
        """
        return generate_latest(self._registry)


class _StoreFigures(Collector):
    """What the run store tells, at the moment of asking."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def describe(self) -> list[GaugeMetricFamily]:
        """Tell nothing before somebody asks: the store may be away at the start."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | HistogramMetricFamily]:
        """Count."""
        now = datetime.now(UTC)
        figures = self._store.figures()
        runs = GaugeMetricFamily("fti_training_runs", "Requested runs by state", labels=["state"])
        for state in RunState:
            runs.add_metric([state.value], figures.states.get(state, 0))
        yield runs
        queued = GaugeMetricFamily(
            "fti_training_queued_runs", "Runs that wait, by queue", labels=["queue"]
        )
        for queue, count in figures.queued.items():
            queued.add_metric([queue], count)
        yield queued
        oldest = figures.oldest_queued_at
        age = 0.0 if oldest is None else (now - oldest).total_seconds()
        yield GaugeMetricFamily(
            "fti_training_oldest_queued_seconds", "Age of the oldest run that waits", value=age
        )
        workers = GaugeMetricFamily(
            "fti_training_workers", "Workers that were heard of lately, by queue", labels=["queue"]
        )
        alive = self._store.workers(now - WORKER_SILENCE)
        for queue, count in Count(name for worker in alive for name in worker.queues).items():
            workers.add_metric([queue], count)
        yield workers
        seconds = HistogramMetricFamily(
            "fti_training_run_seconds",
            "Time from the first beginning of a run to its end",
            labels=["state"],
        )
        # Also the ends that no run has had: an alarm sees a first failure only as a change.
        for state, took in (dict.fromkeys(sorted(FINAL), _NONE) | figures.durations).items():
            buckets = [
                (str(float(most)), float(count))
                for most, count in zip(SECONDS, took.within, strict=True)
            ]
            seconds.add_metric([state.value], [*buckets, ("+Inf", took.runs)], took.seconds)
        yield seconds
