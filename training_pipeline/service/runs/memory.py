"""Runs kept in memory, for as long as the process lives: for tests."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from training_pipeline.service.runs.run import Run, RunEvent, RunState, WorkerSign, event_of
from training_pipeline.service.runs.store import SECONDS, Durations, Figures
from training_pipeline.service.runs.transitions import Transition


class MemoryRunStore:
    """Keeps runs in dictionaries; see ``RunStore``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._by_key: dict[str, str] = {}
        self._events: dict[str, list[RunEvent]] = defaultdict(list)
        self._workers: dict[str, WorkerSign] = {}

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""
        with self._lock:
            if idempotency_key is not None:
                known = self._by_key.setdefault(idempotency_key, run.run_id)
                if known != run.run_id:
                    return self._runs[known]
            return self._keep(None, run, run.created_at)

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""
        with self._lock:
            return self._runs.get(run_id)

    def newest(self, limit: int, state: RunState | None = None) -> list[Run]:
        """Return runs, newest first; only those of a state if one is given."""
        with self._lock:
            runs = reversed(self._runs.values())
            return [run for run in runs if state in {None, run.state}][:limit]

    def oldest(
        self, states: Collection[RunState], limit: int, queues: Collection[str] | None = None
    ) -> list[Run]:
        """Return runs of some states, and of some queues or of all, oldest first."""
        with self._lock:
            found = [run for run in self._runs.values() if run.state in states]
            return [run for run in found if queues is None or run.queue in queues][:limit]

    def change(self, run_id: str, transition: Transition, now: datetime) -> Run | None:
        """Apply a transition while nobody else does, and keep the event that it makes."""
        with self._lock:
            before = self._runs.get(run_id)
            after = transition(before) if before is not None else None
            return None if after is None else self._keep(before, after, now)

    def events(self, run_id: str, *, after: int, limit: int = 100) -> Sequence[RunEvent]:
        """Return events of a run with numbers above ``after``, in order."""
        with self._lock:
            return [event for event in self._events[run_id] if event.number > after][:limit]

    def forget_events(self, before: datetime) -> int:
        """Drop the events of runs that ended before a moment; return how many."""
        with self._lock:
            old = [
                run_id
                for run_id, run in self._runs.items()
                if run.final and (run.finished_at or datetime.max.replace(tzinfo=UTC)) < before
            ]
            return sum(len(self._events.pop(run_id, ())) for run_id in old)

    def sign(self, worker: WorkerSign) -> None:
        """Note that a worker lives."""
        with self._lock:
            self._workers[worker.name] = worker

    def sign_off(self, name: str) -> None:
        """Note that a worker has ended."""
        with self._lock:
            self._workers.pop(name, None)

    def workers(self, since: datetime) -> list[WorkerSign]:
        """Return the workers that were heard of since a moment."""
        with self._lock:
            heard = [worker for worker in self._workers.values() if worker.heard_at >= since]
            return sorted(heard, key=lambda worker: worker.name)

    def figures(self) -> Figures:
        """Count runs."""
        with self._lock:
            runs = list(self._runs.values())
        queued = [run for run in runs if run.state is RunState.QUEUED]
        took: dict[RunState, list[float]] = defaultdict(list)
        for run in runs:
            if run.started_at and run.finished_at:
                took[run.state].append((run.finished_at - run.started_at).total_seconds())
        return Figures(
            states=dict(Counter(run.state for run in runs)),
            queued=dict(Counter(run.queue for run in queued)),
            oldest_queued_at=min((run.created_at for run in queued), default=None),
            durations={
                state: Durations(
                    runs=len(seconds),
                    seconds=sum(seconds),
                    within=tuple(sum(took <= most for took in seconds) for most in SECONDS),
                )
                for state, seconds in took.items()
            },
        )

    def check(self) -> None:
        """Do nothing: memory can be written."""

    def _keep(self, before: Run | None, after: Run, now: datetime) -> Run:
        event = event_of(before, after, now)
        if event is not None:
            after = after.model_copy(update={"last_event": event.number})
            self._events[after.run_id].append(event)
        self._runs[after.run_id] = after
        return after
