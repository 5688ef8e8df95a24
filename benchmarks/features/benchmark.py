"""Runs the trials one after the other, and gathers what they found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.features.backfill_trial import KINDS
from benchmarks.features.ceilings import bytewax_rate, redis_rate
from benchmarks.features.mentions import make_mentions, write_task
from benchmarks.features.services import redis_server
from benchmarks.features.stream import Backlog, Deployment, Freshness, freshness, work_off
from benchmarks.measure import Ended, Limits, run_fresh

_TRIAL = "benchmarks.features.backfill_trial"


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    sizes: list[int]
    """Mentions of the backfills."""
    backlog: int
    """Mentions that wait for the stream worker."""
    rate: int
    """Mentions posted a second, to see how fresh features are."""
    seconds: float
    """How long they are posted."""
    limits: Limits
    """Of a backfill."""


@dataclass(frozen=True)
class Step:
    """What a step of a backfill took."""

    mentions: int
    name: str
    seconds: float | None
    peak_bytes: int
    outcome: str

    @property
    def rate(self) -> float | None:
        """Mentions a second."""
        return self.mentions / self.seconds if self.seconds else None


@dataclass(frozen=True)
class Found:
    """What the benchmark found."""

    steps: list[Step]
    backlog: Backlog
    freshness: Freshness
    bytewax_rate: float
    redis_rate: float


def run_benchmark(plan: Plan, folder: Path, report: Callable[[str], None]) -> Found:
    """Measure everything; each trial writes below the folder and cleans up."""
    task = write_task(folder)
    steps: list[Step] = []
    for size in plan.sizes:
        history = folder / "history.parquet"
        make_mentions(size, seed=0).write_parquet(history)
        for kind in KINDS:
            report(f"{size:,} mentions: {kind}")
            home = _fresh(folder / "backfill")
            arguments = [kind, str(task), str(history), str(home)]
            ended = run_fresh(_TRIAL, arguments, folder, plan.limits)
            steps += _steps(size, kind, ended)
            shutil.rmtree(home)
    with redis_server(folder) as address:
        report("ceilings of the stream")
        rates = bytewax_rate(10 * plan.backlog), redis_rate(address, plan.backlog)
    report(f"a backlog of {plan.backlog:,} mentions")
    with redis_server(_fresh(folder / "redis-backlog")) as address:
        deployment = Deployment(_fresh(folder / "backlog"), task, address)
        worked_off = work_off(deployment, plan.backlog, folder)
    report(f"{plan.rate:,} mentions a second for {plan.seconds:g} s")
    with redis_server(_fresh(folder / "redis-fresh")) as address:
        deployment = Deployment(_fresh(folder / "fresh"), task, address)
        fresh = freshness(deployment, plan.rate, plan.seconds, folder)
    return Found(steps, worked_off, fresh, *rates)


def _steps(size: int, kind: str, ended: Ended) -> list[Step]:
    if ended.how != "done":
        outcome = f"{ended.how}: {ended.last_error}" if ended.last_error else ended.how
        return [Step(size, kind, None, ended.peak_bytes, outcome)]
    return [
        Step(size, name, cost["seconds"], cost["peak_bytes"], "done")
        for name, cost in ended.answer.items()
        if name == kind or kind == KINDS[0]  # the file is read alike for the others
    ]


def _fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
