"""Runs of a store, for tests, and moments at which things become of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from training_pipeline.problem import Problem
from training_pipeline.result import GateResult, RowCounts, TrainResult
from training_pipeline.service.runs.run import Run, new_run
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import (
    Transition,
    claim,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
LEASE = timedelta(seconds=30)
RESULT = TrainResult(
    run_id="r",
    version="3",
    gate=GateResult(passed=True, reasons=[]),
    metrics={"accuracy": 0.8},
    rows=RowCounts(labelled=10, folded=1, train=7, holdout=2),
    dataset_sha256="0" * 64,
)
PROBLEM = Problem(place="here", expected="this", found="that")


def change(store: RunStore, run: Run, transition: Transition, now: datetime = NOW) -> Run | None:
    """Apply a transition to a run."""
    return store.change(run.run_id, transition, now)


def queued(store: RunStore, queue: str = "default") -> Run:
    """Add a run."""
    return store.add(new_run("x", NOW, queue=queue))


def begun(store: RunStore) -> Run:
    """Return a run that worker w has."""
    run = change(store, queued(store), claim("w", NOW, LEASE))
    assert run is not None
    return run
