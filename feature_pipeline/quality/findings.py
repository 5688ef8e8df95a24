"""What was found: how many rows of a view fail an expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from feature_pipeline.quality.expectations import Expectation


@dataclass(frozen=True)
class Finding:
    """How many of a view's rows fail an expectation."""

    expectation: Expectation
    rows: int
    failing: int

    @property
    def share(self) -> float:
        """Of failing rows, 0 to 1; 0 where there are no rows."""
        return self.failing / self.rows if self.rows else 0.0

    @property
    def holds(self) -> bool:
        """Whether no more rows fail than may."""
        return self.failing <= most_failing(self.expectation, self.rows)

    def __str__(self) -> str:
        expected = self.expectation
        return (
            f"{expected.name} ({expected.says}): {self.failing} of {self.rows} rows of"
            f" {expected.view} fail ({self.share:.2%}, allowed {expected.allowed:.2%})"
        )


def most_failing(expectation: Expectation, rows: int) -> int:
    """Return how many of so many rows may fail."""
    # What is told in decimals must not fail by the rounding of its product.
    return int(expectation.allowed * rows + 1e-9)


def measure(expectations: Sequence[Expectation], rows: pl.DataFrame) -> list[Finding]:
    """Return what rows of one view show of its expectations, in one pass over them."""
    counts = rows.select(
        expectation.failing.sum().alias(expectation.name) for expectation in expectations
    ).row(0)
    return [
        Finding(expectation, rows.height, int(count or 0))
        for expectation, count in zip(expectations, counts, strict=True)
    ]
