"""What reads of online features count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class FeatureMetrics:
    """The metrics of one feature join, in the registry of its server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read_failures = Counter(
            "fti_inference_feature_read_failures",
            "Online reads that failed (error) or came too late (timeout).",
            ["kind"],
            registry=registry,
        )
        self.reads_skipped = Counter(
            "fti_inference_feature_reads_skipped",
            "Requests that did not ask the store, because it had just failed.",
            registry=registry,
        )
