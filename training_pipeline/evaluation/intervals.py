"""Confidence intervals of shares, and of what is computed from counted rows."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 2_000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """Between which values a figure lies, with a confidence of CONFIDENCE."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def wilson(successes: int, rows: int) -> Interval:
    """Return the interval of a share of successes (Wilson 1927).

    Unlike the textbook's ``p ± 1.96 s`` it stays between 0 and 1 and holds for few rows.

    Args:
        successes: how many rows were right.
        rows: of how many, at least 1.

    >>> str(wilson(9, 10))
    '0.596 to 0.982'
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share = successes / rows
    shrink = 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / shrink
    reach = z / shrink * (share * (1 - share) / rows + z * z / (4 * rows * rows)) ** 0.5
    # At the ends rounding leaves a trace on the wrong side.
    low = 0.0 if successes == 0 else max(0.0, middle - reach)
    high = 1.0 if successes == rows else min(1.0, middle + reach)
    return Interval(low, high)


def resample(cells: Counts, seed: int) -> Counts:
    """Return bootstrap counts, [RESAMPLES, *cells.shape] (Efron 1979).

    Drawing rows with replacement and counting them by cell is one draw from a multinomial; so a
    resample costs as many steps as there are cells, not as there are rows.

    Args:
        cells: how many rows fall into each cell; at least one row.
        seed: the same seed draws the same.
    """
    drawn = np.random.default_rng(seed).multinomial(
        int(cells.sum()), cells.ravel() / cells.sum(), size=RESAMPLES
    )
    return np.asarray(drawn, dtype=np.int64).reshape(RESAMPLES, *cells.shape)


def percentiles(figures: npt.NDArray[np.float64]) -> Interval:
    """Return the interval that holds the middle CONFIDENCE of resampled figures, [RESAMPLES].

    A figure that is not a number, of a resample in which it has no rows, is left out.
    """
    tail = (1 - CONFIDENCE) / 2
    there = figures[~np.isnan(figures)]
    if len(there) == 0:
        return Interval(0.0, 1.0)
    low, high = np.quantile(there, [tail, 1 - tail])
    return Interval(float(low), float(high))
