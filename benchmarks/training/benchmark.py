"""Runs the contenders in turn, several times over, and gathers what they measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Limits, run_fresh
from benchmarks.training.contender import CONTENDERS, Speed
from benchmarks.training.first_step import FirstStep, time_to_first_step
from benchmarks.training.gpu import Arithmetic, has_gpu

_TRIAL = "benchmarks.training.trial"


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    task: Path
    history: Path
    rows: int
    epochs: int
    repeats: int
    """Of each contender, in turn, so that a busy minute meets them all."""
    first_steps: int
    """How often a request is timed until its first step; 0: never."""
    limits: Limits
    """Of a trial."""


@dataclass(frozen=True)
class Trial:
    """One fit by one contender."""

    contender: str
    precision: str
    outcome: str
    speed: Speed | None
    arithmetic: Arithmetic | None

    @property
    def rate(self) -> float | None:
        """Tokens a second, padding not counted."""
        return self.speed.tokens / self.speed.seconds if self.speed else None


@dataclass(frozen=True)
class Found:
    """What the benchmark found."""

    trials: list[Trial]
    first_steps: list[FirstStep]

    def rate(self, contender: str, precision: str = "fp32") -> float | None:
        """Return a contender's median of tokens a second; None if a trial of its failed."""
        rates = [
            trial.rate
            for trial in self.trials
            if (trial.contender, trial.precision) == (contender, precision)
        ]
        known = [rate for rate in rates if rate is not None]
        return statistics.median(known) if known and len(known) == len(rates) else None


def run_benchmark(plan: Plan, folder: Path, report: Callable[[str], None]) -> Found:
    """Measure everything; each trial writes below the folder."""
    trials = []
    for precision in ("fp32", "bf16") if has_gpu() else ("fp32",):
        for repeat in range(plan.repeats):
            for contender in CONTENDERS:
                report(f"{contender}, {precision}, {repeat + 1} of {plan.repeats}")
                trials.append(_trial(plan, contender, precision, folder))
    first_steps = []
    for number in range(plan.first_steps):
        report(f"from a request to the first step, {number + 1} of {plan.first_steps}")
        first_steps.append(time_to_first_step(plan.task, plan.history, folder))
    return Found(trials, first_steps)


def _trial(plan: Plan, contender: str, precision: str, folder: Path) -> Trial:
    arguments = [contender, str(plan.task), str(plan.history)]
    arguments += [str(plan.rows), str(plan.epochs), precision]
    ended = run_fresh(_TRIAL, arguments, folder, plan.limits)
    if ended.how != "done":
        outcome = f"{ended.how}: {ended.last_error}" if ended.last_error else ended.how
        return Trial(contender, precision, outcome, None, None)
    answer: dict[str, Any] = ended.answer
    speed = Speed(**{name: answer.pop(name) for name in Speed.__dataclass_fields__})
    return Trial(contender, precision, "done", speed, Arithmetic(**answer))
