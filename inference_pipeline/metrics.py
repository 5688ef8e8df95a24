"""What the inference pipeline counts and measures, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.features.metrics import FeatureMetrics
from inference_pipeline.versions.metrics import VersionMetrics

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one server. Each has its own registry, so that two in a process never mix."""

    def __init__(self) -> None:
        self.collectors = CollectorRegistry()
        """Where parts of the server register what they count themselves."""
        self.requests = Counter(
            "fti_inference_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.collectors,
        )
        self.latency = Histogram(
            "fti_inference_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=self.collectors,
        )
        self.unauthorized = Counter(
            "fti_inference_unauthorized_requests",
            "Requests refused for want of a token that allows them (401, 403), by what was wrong "
            "with it: missing, unknown, scope.",
            ["reason"],
            registry=self.collectors,
        )
        self.engine = EngineMetrics(self.collectors)
        self.features = FeatureMetrics(self.collectors)
        self.versions = VersionMetrics(self.collectors)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.collectors)
