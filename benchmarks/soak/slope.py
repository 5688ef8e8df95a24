"""How fast memory grows, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Slope:
    """A straight line through samples of memory."""

    kib_per_minute: float
    low: float
    high: float
    """95 % confidence interval of the slope."""

    @property
    def flat(self) -> bool:
        """Whether the samples leave it open that nothing grows."""
        return self.low <= 0


def memory_slope(seconds: Sequence[float], resident_bytes: Sequence[int], *, blocks: int) -> Slope:
    """Fit a line to samples.

    Neighbouring samples are alike, which would make the interval far too narrow: the line goes
    through means of blocks of samples.

    Args:
        seconds: when each sample was taken, ascending.
        resident_bytes: the samples.
        blocks: how many means to make of them, three at least.
    """
    from scipy.stats import linregress, t

    parts = [part for part in np.array_split(np.arange(len(seconds)), blocks) if len(part)]
    minutes = [float(np.mean(np.take(seconds, part))) / 60 for part in parts]
    kib = [float(np.mean(np.take(resident_bytes, part))) / 1024 for part in parts]
    line = linregress(minutes, kib)
    margin = float(t.ppf(0.975, len(parts) - 2)) * float(
        np.nan_to_num(line.stderr)
    )  # NaN: all means equal
    slope = float(line.slope)
    return Slope(slope, slope - margin, slope + margin)
