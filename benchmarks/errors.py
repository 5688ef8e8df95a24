"""The error of the benchmarks."""

from __future__ import annotations

from shared.errors import FtiError


class BenchmarkError(FtiError):
    """A benchmark cannot run here, or what it measures did not do its work."""
