"""Simulated arrival times, for texts that carry none."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from shared.task import Replay


def simulated_times(count: int, replay: Replay, now: datetime) -> list[datetime]:
    """Return simulated arrival times: a Poisson process over the span, in shuffled row order."""
    generator = random.Random(replay.seed)  # noqa: S311 - a simulation, no secret
    gaps = [generator.expovariate(1.0) for _ in range(count)]
    order = list(range(count))
    generator.shuffle(order)
    ends = replay.ends or now
    scale = replay.span / sum(gaps) if gaps else timedelta(0)
    times = [ends] * count
    elapsed = 0.0
    for gap, row in zip(gaps, order, strict=True):
        elapsed += gap
        times[row] = min(ends, ends - replay.span + scale * elapsed)
    return times
