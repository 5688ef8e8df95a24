"""What the engine counts and measures: requests as they end, and batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from inference_pipeline.versions.registry import ModelVersion

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_VERSION = ["model", "version"]


class EngineMetrics:
    """The metrics of one engine, in the registry of its server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.mentions = Counter(
            "fti_inference_mentions", "Mentions predicted.", _VERSION, registry=registry
        )
        self.degraded = Counter(
            "fti_inference_degraded_answers",
            "Requests answered without features, because the store did not give them.",
            registry=registry,
        )
        self.in_flight = Gauge(
            "fti_inference_requests_in_flight",
            "Requests that were taken and are not answered.",
            registry=registry,
        )
        self.refused = Counter(
            "fti_inference_refused_requests",
            "Requests refused because they would have come too late (429): at the door, before "
            "they were read, or by the engine, once their length was known.",
            ["at"],
            registry=registry,
        )
        self.expired = Counter(
            "fti_inference_expired_requests",
            "Requests taken whose deadline passed before they were answered (504).",
            registry=registry,
        )
        self.cancelled = Counter(
            "fti_inference_cancelled_requests",
            "Requests whose client left before the answer.",
            registry=registry,
        )
        self.queue_time = Histogram(
            "fti_inference_queue_time_seconds",
            "Time that a row waits until its batch starts.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.compute_time = Histogram(
            "fti_inference_batch_duration_seconds",
            "Time that the model takes for a batch.",
            _VERSION,
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "fti_inference_batch_rows",
            "Rows of a batch.",
            _VERSION,
            buckets=_ROWS,
            registry=registry,
        )
        self.batch_tokens = Histogram(
            "fti_inference_batch_tokens",
            "Tokens of a batch, padding included.",
            _VERSION,
            buckets=_TOKENS,
            registry=registry,
        )
        self.failed_rows = Counter(
            "fti_inference_failed_rows",
            "Mentions of which the model failed to give scores.",
            _VERSION,
            registry=registry,
        )
        self.shadow_answers = Counter(
            "fti_inference_shadow_answers",
            "Mentions answered in the shadow, by whether the label was the one that was served.",
            [*_VERSION, "agrees"],
            registry=registry,
        )
        self.shadow_dropped = Counter(
            "fti_inference_shadow_dropped",
            "Requests that the shadow did not answer, for want of idle time.",
            registry=registry,
        )

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Count a request as in flight."""
        self.in_flight.inc()
        try:
            yield
        finally:
            self.in_flight.dec()

    def batch(self, version: ModelVersion, *, rows: int, tokens: int, seconds: float) -> None:
        """Note a batch that ran."""
        labels = (version.name, version.version)
        self.batch_rows.labels(*labels).observe(rows)
        self.batch_tokens.labels(*labels).observe(tokens)
        self.compute_time.labels(*labels).observe(seconds)
