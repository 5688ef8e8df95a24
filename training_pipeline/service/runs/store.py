"""The port behind which runs are kept. It is the truth about them; messages only point to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from training_pipeline.service.runs.run import Run, RunEvent, RunState, WorkerSign
from training_pipeline.service.runs.transitions import Transition

SECONDS = (10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)
"""Upper bounds by which durations of runs are counted."""


@dataclass(frozen=True)
class Durations:
    """How long runs that ended took, from the first worker's beginning on."""

    runs: int
    seconds: float
    """The sum."""
    within: tuple[int, ...]
    """How many took no longer than each of SECONDS."""


@dataclass(frozen=True)
class Figures:
    """What there is to count."""

    states: dict[RunState, int] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    """By queue."""
    oldest_queued_at: datetime | None = None
    durations: dict[RunState, Durations] = field(default_factory=dict)
    """By final state."""


class RunStore(Protocol):
    """Keeps runs, their events, and the workers' signs of life.

    Safe to use from several threads and, but for the one in memory, from several processes and
    machines. Every method raises StateError while the store is away.
    """

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""

    def newest(self, limit: int, state: RunState | None = None) -> list[Run]:
        """Return runs, newest first; only those of a state if one is given."""

    def oldest(
        self, states: Collection[RunState], limit: int, queues: Collection[str] | None = None
    ) -> list[Run]:
        """Return runs of some states, and of some queues or of all, oldest first."""

    def change(self, run_id: str, transition: Transition, now: datetime) -> Run | None:
        """Apply a transition while nobody else does, and keep the event that it makes.

        Returns:
            The run as it is now; None if there is no such run or it may not be changed so.
        """

    def events(self, run_id: str, *, after: int, limit: int = 100) -> Sequence[RunEvent]:
        """Return events of a run with numbers above ``after``, in order."""

    def forget_events(self, before: datetime) -> int:
        """Drop the events of runs that ended before a moment; return how many."""

    def sign(self, worker: WorkerSign) -> None:
        """Note that a worker lives."""

    def sign_off(self, name: str) -> None:
        """Note that a worker has ended."""

    def workers(self, since: datetime) -> list[WorkerSign]:
        """Return the workers that were heard of since a moment."""

    def figures(self) -> Figures:
        """Count runs."""

    def check(self) -> None:
        """Raise StateError if nothing can be written."""
