"""The comparison with the champion: two models, the same rows, a paired test."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import comb

import numpy as np
import numpy.typing as npt

from training_pipeline.evaluation.intervals import Interval, percentiles, resample
from training_pipeline.rows import Indices

MIN_ROWS = 500
"""With fewer rows the interval is so wide that even an equal model would seem to lose."""


@dataclass(frozen=True)
class Comparison:
    """A candidate beside the champion."""

    champion: str
    """The champion's version."""
    rows: int
    accuracy: float
    champion_accuracy: float
    interval: Interval
    """Of the difference of accuracies, candidate less champion: bootstrap over rows."""
    p_value: float
    """McNemar's exact test, two-sided: how likely so uneven a split is between equal models."""
    lost: Indices = field(repr=False)
    """Positions of rows that the champion labelled right and the candidate did not."""
    gained: Indices = field(repr=False)
    """Positions of rows that the candidate labelled right and the champion did not."""

    @property
    def difference(self) -> float:
        """Accuracy of the candidate less that of the champion."""
        return self.accuracy - self.champion_accuracy


@dataclass(frozen=True)
class Uncompared:
    """No comparison was made, and why."""

    reason: str


def compare_with_champion(
    right: npt.NDArray[np.bool_],
    champion_right: npt.NDArray[np.bool_],
    *,
    champion: str,
    seed: int,
) -> Comparison:
    """Compare two models by which of the same rows each labelled right.

    Args:
        right: [rows], of the candidate.
        champion_right: [rows], of the champion.
        champion: its version.
        seed: of the bootstrap.
    """
    gained = np.flatnonzero(right & ~champion_right)
    lost = np.flatnonzero(~right & champion_right)
    cells = np.array([len(gained), len(lost), len(right) - len(gained) - len(lost)])
    drawn = resample(cells, seed)  # [resamples, 3]
    return Comparison(
        champion=champion,
        rows=len(right),
        accuracy=float(right.mean()),
        champion_accuracy=float(champion_right.mean()),
        interval=percentiles((drawn[:, 0] - drawn[:, 1]) / len(right)),
        p_value=mcnemar(len(gained), len(lost)),
        lost=lost,
        gained=gained,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Between equal models each row on which they differ is a fair coin: the binomial distribution
    of the smaller side, twice.

    >>> mcnemar(0, 6), mcnemar(5, 5)
    (0.03125, 1.0)
    """
    differing = gained + lost
    tail = sum(comb(differing, heads) for heads in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2**differing))
