"""Requested training runs: their states, and the port behind which they are kept."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult


class RunState(StrEnum):
    """Where a run stands. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    GATE_FAILED = "gate_failed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Its process, or the service, ended before it did. Post it again to train."""


class Run(BaseModel):
    """A request to train and what became of it. Times are UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    reason: str
    state: RunState = RunState.QUEUED
    stage: str | None = None
    progress: float = 0.0
    """Of the whole run, 0 to 1."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: TrainResult | None = None
    error: Problem | None = None


def new_run(reason: str, now: datetime) -> Run:
    """Return a queued run with an id of its own."""
    return Run(run_id=uuid.uuid4().hex, reason=reason, created_at=now)


INTERRUPTED = Problem(
    place="training run",
    expected="to run to its end",
    found="the service stopped before",
    remedy="Post the run again, with a new idempotency key if it had one.",
)


class RunStore(Protocol):
    """Keeps runs. Safe to use from several threads."""

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""

    def newest(self, limit: int) -> list[Run]:
        """Return runs, newest first."""

    def start_next(self, now: datetime) -> Run | None:
        """Turn the oldest queued run into a running one and return it; None if none waits."""

    def report(self, run_id: str, stage: str, progress: float) -> None:
        """Note how far a running run is."""

    def finish(
        self,
        run_id: str,
        state: RunState,
        now: datetime,
        *,
        result: TrainResult | None = None,
        error: Problem | None = None,
    ) -> None:
        """Give a running run its final state."""

    def interrupt_running(self, now: datetime) -> list[str]:
        """Give every running run the state interrupted; return their ids."""

    def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""

    def check_writable(self) -> None:
        """Raise OSError if nothing can be written."""


class MemoryRunStore:
    """Keeps runs for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._by_key: dict[str, str] = {}

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""
        with self._lock:
            if idempotency_key is not None:
                known = self._by_key.setdefault(idempotency_key, run.run_id)
                if known != run.run_id:
                    return self._runs[known]
            self._runs[run.run_id] = run
            return run

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""
        with self._lock:
            return self._runs.get(run_id)

    def newest(self, limit: int) -> list[Run]:
        """Return runs, newest first."""
        with self._lock:
            return list(reversed(self._runs.values()))[:limit]

    def start_next(self, now: datetime) -> Run | None:
        """Turn the oldest queued run into a running one and return it; None if none waits."""
        with self._lock:
            for run in self._runs.values():
                if run.state is RunState.QUEUED:
                    return self._change(run, state=RunState.RUNNING, started_at=now)
            return None

    def report(self, run_id: str, stage: str, progress: float) -> None:
        """Note how far a running run is."""
        with self._lock:
            run = self._runs[run_id]
            if run.state is RunState.RUNNING:
                self._change(run, stage=stage, progress=progress)

    def finish(
        self,
        run_id: str,
        state: RunState,
        now: datetime,
        *,
        result: TrainResult | None = None,
        error: Problem | None = None,
    ) -> None:
        """Give a running run its final state."""
        with self._lock:
            run = self._runs[run_id]
            if run.state is RunState.RUNNING:
                self._change(run, state=state, finished_at=now, result=result, error=error)

    def interrupt_running(self, now: datetime) -> list[str]:
        """Give every running run the state interrupted; return their ids."""
        with self._lock:
            running = [run for run in self._runs.values() if run.state is RunState.RUNNING]
            for run in running:
                self._change(run, state=RunState.INTERRUPTED, finished_at=now, error=INTERRUPTED)
            return [run.run_id for run in running]

    def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""
        with self._lock:
            return dict(Counter(run.state for run in self._runs.values()))

    def check_writable(self) -> None:
        """Do nothing: memory can be written."""

    def _change(self, run: Run, **changes: object) -> Run:
        changed = run.model_copy(update=changes)
        self._runs[run.run_id] = changed
        return changed
