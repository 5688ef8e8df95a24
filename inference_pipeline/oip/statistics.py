"""What versions have done since the server started."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.oip.schemas import Duration, InferenceDurations, ModelStatistics
from inference_pipeline.oip.target import Target
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.versions import UnknownModelError, Versions

_SECOND = 1_000_000_000
"""Nanoseconds."""
_MILLISECOND = 1_000_000


@dataclass
class _Answered:
    """The requests that a version answered through this face."""

    count: int = 0
    ns: int = 0
    last: int = 0
    """Nanoseconds since 1970."""


class Statistics:
    """Joins the engine's own counters with what only this face knows. For one event loop."""

    def __init__(self, versions: Versions, metrics: EngineMetrics) -> None:
        self._versions = versions
        self._metrics = metrics
        self._answered: dict[ModelVersion, _Answered] = {}

    def answered(self, version: ModelVersion, ns: int) -> None:
        """Note that a version answered a request, and how many nanoseconds that took."""
        so_far = self._answered.setdefault(version, _Answered())
        so_far.count += 1
        so_far.ns += ns
        so_far.last = time.time_ns()

    def of(self, asked: Target) -> list[ModelStatistics]:
        """Return the statistics of a version, of a model's versions in service, or of all.

        Raises:
            UnknownModelError: there is no such model or version.
        """
        states = (
            self._versions.models() if asked.model is None else [self._versions.state(asked.model)]
        )
        versions = dict.fromkeys(served.version for state in states for served in state.served)
        if asked.version is not None:
            versions = {known: None for known in versions if known.version == asked.version}
            if not versions:
                raise UnknownModelError(
                    f"model {asked.model}, version",
                    expected="a version in service",
                    found=repr(asked.version[:80]),
                )
        return [self._of(version) for version in versions]

    def _of(self, version: ModelVersion) -> ModelStatistics:
        answered = self._answered.get(version, _Answered())
        metrics = self._metrics
        passes = int(_value(metrics.compute_time, "_count", version))
        return ModelStatistics(
            name=version.name,
            version=version.version,
            last_inference=answered.last // _MILLISECOND,
            inference_count=int(_value(metrics.mentions, "_total", version)),
            execution_count=passes,
            inference_stats=InferenceDurations(
                success=Duration(count=answered.count, ns=answered.ns),
                fail=Duration(count=int(_value(metrics.failed_rows, "_total", version)), ns=0),
                compute_infer=Duration(
                    count=passes, ns=round(_value(metrics.compute_time, "_sum", version) * _SECOND)
                ),
            ),
        )


def _value(metric: Counter | Histogram, suffix: str, version: ModelVersion) -> float:
    """Return what a metric holds for a version, 0 before anything was noted."""
    wanted: Mapping[str, str] = {"model": version.name, "version": version.version}
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(suffix) and sample.labels == wanted
    )
