"""Figures of data quality."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from feature_pipeline.quality.expectations import Expectation
from feature_pipeline.quality.findings import Finding


class QualityMetrics:
    """What was found, for Prometheus; in the stream since the worker's start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = Counter(
            "fti_quality_rows_total",
            "Rows held against an expectation; after a crash some come again",
            ["expectation"],
            registry=registry,
        )
        self._failing = Counter(
            "fti_quality_failing_rows_total",
            "Rows that failed an expectation",
            ["expectation"],
            registry=registry,
        )
        self._broken = Counter(
            "fti_quality_broken_total",
            "Judgements by which more rows failed an expectation than may",
            ["expectation"],
            registry=registry,
        )
        self._share = Gauge(
            "fti_quality_failing_share",
            "Share of failing rows at the last judgement",
            ["expectation"],
            registry=registry,
        )
        self._allowed = Gauge(
            "fti_quality_allowed_share",
            "Share of rows that may fail",
            ["expectation"],
            registry=registry,
        )
        self.errors = Counter(
            "fti_quality_errors_total", "Checks that failed themselves", registry=registry
        )

    def expect(self, expectations: Iterable[Expectation]) -> None:
        """Show each expectation as not broken: an alarm sees a first time only as a change."""
        for one in expectations:
            self._broken.labels(one.name)

    def count(self, findings: Iterable[Finding]) -> None:
        """Count what was found."""
        for finding in findings:
            name = finding.expectation.name
            self._rows.labels(name).inc(finding.rows)
            self._failing.labels(name).inc(finding.failing)
            self._broken.labels(name).inc(not finding.holds)
            self._share.labels(name).set(finding.share)
            self._allowed.labels(name).set(finding.expectation.allowed)
