"""What the inference pipeline counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _ServedVersion(Collector):
    """The version in service as a gauge.

    Not a `Gauge` that is cleared at each swap: Feast switches prometheus_client to its mode for
    several processes, in which that is not possible.
    """

    def __init__(self) -> None:
        self.current: tuple[str, str] | None = None

    def collect(self) -> Iterator[Metric]:
        """Return one sample, none before a version serves."""
        gauge = GaugeMetricFamily(
            "fti_inference_model_info", "1 for the version in service.", labels=["name", "version"]
        )
        if self.current is not None:
            gauge.add_metric(self.current, 1)
        yield gauge


class Metrics:
    """The metrics of one server. Each has its own registry, so that two in a process never mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "fti_inference_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.latency = Histogram(
            "fti_inference_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self.mentions = Counter(
            "fti_inference_mentions", "Mentions predicted.", registry=self._registry
        )
        self.degraded = Counter(
            "fti_inference_degraded_answers",
            "Requests answered without features, because the store did not give them.",
            registry=self._registry,
        )
        self.feature_read_failures = Counter(
            "fti_inference_feature_read_failures",
            "Online reads that failed (error) or came too late (timeout).",
            ["kind"],
            registry=self._registry,
        )
        self.swaps = Counter(
            "fti_inference_model_swaps", "Versions put into service.", registry=self._registry
        )
        self.refused = Counter(
            "fti_inference_refused_versions",
            "Versions that failed a check and were not put into service.",
            registry=self._registry,
        )
        self.poll_failures = Counter(
            "fti_inference_registry_poll_failures",
            "Looks at the model registry that failed.",
            registry=self._registry,
        )
        self._served = _ServedVersion()
        self._registry.register(self._served)

    def serve_version(self, name: str, version: str) -> None:
        """Make a version the one that is in service."""
        self.swaps.inc()
        self._served.current = (name, version)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
