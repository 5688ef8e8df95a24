"""What may become of a run: each transition gives the changed run, or None where it may not be.

A store applies a transition to a run while it keeps everybody else away from it. So of two workers
that claim a run one gets it, and whoever lost a lease changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult
from training_pipeline.service.runs.run import FINAL, HELD, Run, RunState

Transition = Callable[[Run], Run | None]

_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(minutes=10)


def claim(worker: str, now: datetime, lease: timedelta) -> Transition:
    """Let a worker begin with a queued run, or go on with it: how far it is, it tells anew."""

    def apply(run: Run) -> Run | None:
        if run.state is not RunState.QUEUED or not run.due(now):
            return None
        return _changed(
            run,
            state=RunState.RUNNING,
            error=None,
            stage=None,
            progress=0.0,
            metrics={},
            worker=worker,
            attempts=run.attempts + 1,
            started_at=run.started_at or now,
            lease_until=now + lease,
        )

    return apply


def renew(worker: str, now: datetime, lease: timedelta) -> Transition:
    """Let the worker that has a run keep it for longer."""

    def apply(run: Run) -> Run | None:
        return _changed(run, lease_until=now + lease) if _held_by(run, worker) else None

    return apply


def begin_registration(worker: str, now: datetime, lease: timedelta) -> Transition:
    """Renew, and note that the result goes to the registry now, unless the run is to be cancelled.

    A wish to cancel comes either before this, and nothing is registered, or too late.
    """

    def apply(run: Run) -> Run | None:
        renewed = renew(worker, now, lease)(run)
        if renewed is None or run.state is RunState.CANCELLING:
            return renewed
        return _changed(renewed, registration_begun=True)

    return apply


def report(worker: str, stage: str, progress: float, metrics: Mapping[str, float]) -> Transition:
    """Note how far a run is."""

    def apply(run: Run) -> Run | None:
        if not _held_by(run, worker):
            return None
        return _changed(run, stage=stage, progress=progress, metrics=dict(metrics))

    return apply


def finish(
    worker: str,
    state: RunState,
    now: datetime,
    *,
    result: TrainResult | None = None,
    error: Problem | None = None,
) -> Transition:
    """Give a run its final state. What is registered stays so, though it was to be cancelled."""

    def apply(run: Run) -> Run | None:
        if not (_held_by(run, worker) or _registered_by(run, worker)):
            return None
        return _ended(run, state, now, result=result, error=error)

    return apply


def hand_back(worker: str, now: datetime) -> Transition:
    """Let another worker go on with a run, or end it here if it was to be cancelled."""

    def apply(run: Run) -> Run | None:
        return _given_up(run, now) if _held_by(run, worker) else None

    return apply


def put_off(worker: str, now: datetime, why: Problem, *, most: int) -> Transition:
    """Let a run wait while something that it needs is away: longer each time, up to a while.

    Args:
        worker: who has it.
        now: the moment.
        why: what is away.
        most: as many delays fail the run.
    """

    def apply(run: Run) -> Run | None:
        if not _held_by(run, worker):
            return None
        delays = run.delays + 1
        counted = _changed(run, delays=delays)
        if run.state is RunState.RUNNING and delays >= most:
            return _ended(counted, RunState.FAILED, now, error=why)
        after = _given_up(counted, now)
        if after.final:
            return after
        wait = min(_FIRST_DELAY * 2 ** (delays - 1), _LONGEST_DELAY)
        return _changed(after, lease_until=now + wait, error=why)

    return apply


def keep(worker: str, now: datetime) -> Transition:
    """Note that a run is trained, and its result kept until the registry is back.

    One that was to be cancelled ends here.
    """

    def apply(run: Run) -> Run | None:
        if not _held_by(run, worker):
            return None
        if run.state is RunState.CANCELLING:
            return _ended(run, RunState.CANCELLED, now)
        return _changed(run, state=RunState.UNREGISTERED, lease_until=None)

    return apply


def claim_kept(worker: str, now: datetime, lease: timedelta) -> Transition:
    """Let a worker register what it kept."""

    def apply(run: Run) -> Run | None:
        if run.state is not RunState.UNREGISTERED or not _lease_over(run, now):
            return None
        return _changed(run, worker=worker, lease_until=now + lease)

    return apply


def lose(now: datetime, *, most: int, worker: str | None = None) -> Transition:
    """Take a run from a worker that is gone, or, of a worker that is there, from a dead process.

    Args:
        now: the moment.
        most: as many losses fail the run, since it may be what kills its workers.
        worker: whose process died; by default any whose lease is over.
    """

    def apply(run: Run) -> Run | None:
        gone = _held_by(run, worker) if worker else run.state in HELD and _lease_over(run, now)
        if not gone:
            return None
        losses = run.lost_workers + 1
        counted = _changed(run, lost_workers=losses)
        if run.state is RunState.RUNNING and losses >= most:
            return _ended(counted, RunState.FAILED, now, error=_too_many(losses))
        return _given_up(counted, now)

    return apply


def cancel(now: datetime) -> Transition:
    """End a run: at once if nobody has it, else by asking the worker that has it.

    Not once its registration has begun, though its worker be lost: there may be a version, which
    the next attempt finds.
    """

    def apply(run: Run) -> Run | None:
        if run.registration_begun and run.state is not RunState.UNREGISTERED:
            return None
        if run.state is RunState.RUNNING:
            return _changed(run, state=RunState.CANCELLING)
        unheld = run.state is RunState.UNREGISTERED and _lease_over(run, now)
        if run.state is RunState.QUEUED or unheld:
            return _ended(run, RunState.CANCELLED, now)
        return None

    return apply


def sent(now: datetime) -> Transition:
    """Note that a message about a queued run went out."""

    def apply(run: Run) -> Run | None:
        return _changed(run, sent_at=now) if run.state is RunState.QUEUED else None

    return apply


def leave_kept(worker: str) -> Transition:
    """Let go of what could not be registered yet."""

    def apply(run: Run) -> Run | None:
        return _changed(run, lease_until=None) if _registered_by(run, worker) else None

    return apply


def _held_by(run: Run, worker: str) -> bool:
    return run.state in HELD and run.worker == worker


def _registered_by(run: Run, worker: str) -> bool:
    waits = run.state is RunState.UNREGISTERED and run.lease_until is not None
    return waits and run.worker == worker


def _lease_over(run: Run, now: datetime) -> bool:
    return run.lease_until is None or run.lease_until < now


def _given_up(run: Run, now: datetime) -> Run:
    if run.state is RunState.CANCELLING:
        return _ended(run, RunState.CANCELLED, now)
    return _changed(run, state=RunState.QUEUED, lease_until=None, sent_at=None)


def _ended(
    run: Run,
    state: RunState,
    now: datetime,
    *,
    result: TrainResult | None = None,
    error: Problem | None = None,
) -> Run:
    if state not in FINAL:
        raise ValueError(f"{state} is not final")
    return _changed(run, state=state, finished_at=now, lease_until=None, result=result, error=error)


def _changed(run: Run, **changes: object) -> Run:
    return run.model_copy(update=changes)


def _too_many(losses: int) -> Problem:
    return Problem(
        place="training run",
        expected="a worker that lives until its end",
        found=f"{losses} workers, or their processes, gone in the middle of it",
        remedy="It may need more memory than they have: see the run's log and the workers' system"
        " logs, then post it again.",
    )
