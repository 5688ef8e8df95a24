"""A requested training run, and what it tells when it changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult


class RunState(StrEnum):
    """Where a run stands. The last four are final."""

    QUEUED = "queued"
    """Nobody has it. It may have begun before: it goes on from its checkpoint then."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    """A worker has it and is to end it."""
    UNREGISTERED = "unregistered"
    """Trained, but the registry was away. A worker keeps the result and registers it later."""
    SUCCEEDED = "succeeded"
    GATE_FAILED = "gate_failed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({RunState.SUCCEEDED, RunState.GATE_FAILED, RunState.FAILED, RunState.CANCELLED})
HELD = frozenset({RunState.RUNNING, RunState.CANCELLING})
"""States in which a worker holds the run by a lease."""


class Run(BaseModel):
    """A request to train and what became of it. Times are UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    reason: str
    queue: str = "default"
    overrides: dict[str, Any] = {}
    """Fields of the task's section ``training`` that are otherwise in this run."""
    state: RunState = RunState.QUEUED
    stage: str | None = None
    progress: float = 0.0
    """Of the whole run, 0 to 1."""
    metrics: dict[str, float] = {}
    """Of the last step: its number, how many there are, the loss."""
    attempts: int = 0
    """How often a worker began with it or went on."""
    lost_workers: int = 0
    """How often the worker that had it, or its process, was gone without a word."""
    delays: int = 0
    """How often it was put off, since something that it needs was away or full."""
    worker: str | None = None
    """Who has it, or had it last."""
    created_at: datetime
    started_at: datetime | None = None
    """When a worker first began."""
    finished_at: datetime | None = None
    result: TrainResult | None = None
    error: Problem | None = None
    """Why it failed; of a queued run, why it was put off."""
    lease_until: datetime | None = Field(default=None, exclude=True)
    """Until then nobody else may take it; of a queued run, nobody at all."""
    registration_begun: bool = Field(default=False, exclude=True)
    """Whether an attempt was allowed to register: from then on there may be a version of it."""
    sent_at: datetime | None = Field(default=None, exclude=True)
    """When a message about it went to the workers; None if none is on its way."""
    last_event: int = Field(default=0, exclude=True)
    """Number of the last event about it."""

    def due(self, now: datetime) -> bool:
        """Tell whether a queued run may be begun with."""
        return self.lease_until is None or self.lease_until <= now

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL


class RunEvent(BaseModel):
    """A change of a run, for those who watch it."""

    model_config = ConfigDict(frozen=True)

    number: int
    """1, 2, 3… of its run."""
    at: datetime
    kind: Literal["state", "progress"]
    data: dict[str, Any]


class WorkerSign(BaseModel):
    """A worker's sign of life."""

    model_config = ConfigDict(frozen=True)

    name: str
    queues: tuple[str, ...]
    heard_at: datetime


def new_run(
    reason: str,
    now: datetime,
    *,
    queue: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """Return a queued run with an id of its own."""
    return Run(
        run_id=uuid.uuid4().hex,
        reason=reason,
        queue=queue,
        overrides=dict(overrides or {}),
        created_at=now,
    )


def event_of(before: Run | None, after: Run, now: datetime) -> RunEvent | None:
    """Return what watchers are told of a change; None where it is none of their business."""
    number = after.last_event + 1
    if before is None or before.state is not after.state:
        told = after.model_dump(
            mode="json", include={"state", "attempts", "worker", "error"}, exclude_none=True
        )
        if after.result is not None:
            told["version"] = after.result.version
            told["gate"] = after.result.gate.model_dump(mode="json")
        return RunEvent(number=number, at=now, kind="state", data=told)
    if (before.stage, before.progress, before.metrics) != (
        after.stage,
        after.progress,
        after.metrics,
    ):
        told = after.model_dump(mode="json", include={"stage", "progress", "metrics"})
        return RunEvent(number=number, at=now, kind="progress", data=told)
    return None
