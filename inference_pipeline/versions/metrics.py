"""What is counted of versions: swaps, refusals, failed looks, and which serve at the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class VersionLabels:
    """How a version in service is told from others."""

    name: str
    version: str
    alias: str
    """Empty for a version that was loaded by its number."""
    variant: str


class _InService(Collector):
    """The versions in service as a gauge, asked for when it is read.

    Not a `Gauge` that is cleared at each swap: Feast switches prometheus_client to its mode for
    several processes, in which that is not possible.
    """

    def __init__(self) -> None:
        self.ask: Callable[[], Iterable[VersionLabels]] = tuple

    def collect(self) -> Iterator[Metric]:
        """Return one sample for each version and alias."""
        gauge = GaugeMetricFamily(
            "fti_inference_model_info",
            "1 for each version in service, by the alias under which it serves.",
            labels=["name", "version", "alias", "variant"],
        )
        for served in self.ask():
            gauge.add_metric([served.name, served.version, served.alias, served.variant], 1)
        yield gauge


class VersionMetrics:
    """The metrics of the versions of one server, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.swaps = Counter(
            "fti_inference_model_swaps",
            "Versions put into service under an alias.",
            ["model"],
            registry=registry,
        )
        self.refused = Counter(
            "fti_inference_refused_versions",
            "Versions that failed a check and were not put into service.",
            ["model"],
            registry=registry,
        )
        self.poll_failures = Counter(
            "fti_inference_registry_poll_failures",
            "Looks at the model registry, or at the files of a version, that failed.",
            ["model"],
            registry=registry,
        )
        self._in_service = _InService()
        registry.register(self._in_service)

    def follow(self, models: Iterable[str]) -> None:
        """Show each model as not refused: an alarm sees a first refusal only as a change."""
        for model in models:
            self.refused.labels(model)

    def show(self, in_service: Callable[[], Iterable[VersionLabels]]) -> None:
        """Ask this for the versions in service whenever metrics are read."""
        self._in_service.ask = in_service
