"""The run: tables of each size, each contender in a fresh process, each answer judged."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.command import Report
from benchmarks.measure import Ended, Limits, run_fresh
from benchmarks.offline_store.contenders import CONTENDERS, Contender
from benchmarks.offline_store.reference import Verdict, judge, right_answer
from benchmarks.offline_store.tables import Tables, make_tables

REHEARSAL_ROWS = 100
# What a peer says when it finds by itself that memory does not do.
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryException")


@dataclass(frozen=True)
class Plan:
    """What to run."""

    sizes: list[int]
    contenders: list[str]
    repeats: int
    """Warm joins at most; slow contenders make fewer."""
    seed: int
    skew: float
    limits: Limits


@dataclass(frozen=True)
class Figures:
    """What a contender took and answered."""

    ready_seconds: float
    cold_seconds: float
    warm_seconds: float
    """The median."""
    repeats: int
    peak_bytes: int
    """Most resident memory of the process during the cold join."""
    above_bytes: int
    """The part of it that the process did not hold before."""
    verdict: Verdict


@dataclass(frozen=True)
class Result:
    """One contender at one size."""

    rows: int
    contender: Contender
    outcome: str
    """``done``, or why there are no figures."""
    figures: Figures | None = None

    @property
    def unexpected(self) -> str | None:
        """What went wrong that may not; None for what is known of other people's stores."""
        if self.outcome.startswith("broke"):
            return self.outcome
        if self.contender.peer:
            return None
        if self.figures is None:
            return self.outcome
        if self.figures.verdict.wrong or not self.figures.verdict.in_order:
            return f"{self.figures.verdict.wrong} wrong rows, or rows out of order"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        figures = None if self.figures is None else asdict(self.figures)
        return {
            "rows": self.rows,
            "contender": self.contender.name,
            "outcome": self.outcome,
            "figures": figures,
        }


def run_benchmark(plan: Plan, folder: Path, report: Report) -> list[Result]:
    """Run all contenders on tables of all sizes; ``report`` hears what goes on."""
    rehearsal = make_tables(folder / "rehearsal", REHEARSAL_ROWS, seed=plan.seed, skew=plan.skew)
    results: list[Result] = []
    for size in plan.sizes:
        report(f"{size:,} rows: making the tables and the right answer")
        tables = make_tables(folder / str(size), size, seed=plan.seed, skew=plan.skew)
        right = right_answer(tables)
        for name in plan.contenders:
            report(f"{size:,} rows: {CONTENDERS[name].title}")
            result = _try(CONTENDERS[name], plan, tables, rehearsal, right)
            results.append(result)
            report(f"{size:,} rows: {CONTENDERS[name].title}: {result.outcome}")
    return results


def _try(
    contender: Contender, plan: Plan, tables: Tables, rehearsal: Tables, right: pl.DataFrame
) -> Result:
    if not contender.installed:
        return Result(right.height, contender, f"not installed: {contender.needs}")
    answer_file = tables.folder / "answer.parquet"
    arguments = [str(answer_file), contender.name, str(tables.folder), str(rehearsal.folder)]
    ended = run_fresh(
        "benchmarks.offline_store.trial",
        [*arguments, str(plan.repeats)],
        tables.folder,
        plan.limits,
    )
    if ended.how != "done":
        return Result(right.height, contender, _why(ended, plan.limits))
    cost = ended.answer
    cold = cost["cold"]
    figures = Figures(
        ready_seconds=cost["ready_seconds"],
        cold_seconds=cold["seconds"],
        warm_seconds=statistics.median(cost["warm_seconds"]),
        repeats=len(cost["warm_seconds"]),
        peak_bytes=cold["peak_bytes"],
        above_bytes=cold["peak_bytes"] - cold["held_bytes"],
        verdict=judge(right, answer_file),
    )
    return Result(right.height, contender, "done", figures)


def _why(ended: Ended, limits: Limits) -> str:
    if ended.how == "time limit":
        return f"passed {limits.seconds:g} s"
    if ended.how == "memory limit":
        return f"passed {limits.memory_bytes / 2**30:.1f} GiB after {ended.seconds:.0f} s"
    if any(name in ended.last_error for name in _OUT_OF_MEMORY):
        return f"out of memory: {ended.last_error}"
    return f"broke: {ended.last_error or 'it was killed'}"
