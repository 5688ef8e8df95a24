"""The execution of runs by a worker, with a child that does as it is told."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.training.run_samples import PROBLEM, RESULT
from tests.training.worker_rig import (
    WAIT_SECONDS,
    Rig,
    ToldChild,
    leaves,
    now,
    wait_until,
)
from training_pipeline.result import GateResult
from training_pipeline.service.runs.run import Run, RunState
from training_pipeline.service.runs.transitions import Transition, cancel, claim, lose
from training_pipeline.service.work.child import Ended
from training_pipeline.service.work.execution import MOST_LOSSES
from training_pipeline.service.work.kept_results import KeptResults

FAILED_RESULT = RESULT.model_copy(update={"gate": GateResult(passed=False, reasons=["weak"])})


@pytest.mark.parametrize(
    ("result", "state"),
    [(RESULT, RunState.SUCCEEDED), (FAILED_RESULT, RunState.GATE_FAILED)],
)
def test_a_result_ends_a_run(tmp_path: Path, result: object, state: RunState) -> None:
    """What the child leaves decides; the run's folder goes, and the order said all of the run."""
    rig = Rig(tmp_path, ToldChild(leaves(result)))
    run = rig.executed()
    assert (run.state, run.result, run.stage, run.progress) == (state, result, "fit", 0.5)
    assert not rig.folder(run.run_id).path.exists()
    (order,) = rig.child.asked
    assert order[:2] == ["train", "--task"]
    assert "--reason=drift" in order
    assert json.loads(order[order.index("--overrides") + 1]) == {"epochs": 2}
    assert order[order.index("--run-id") + 1] == run.run_id
    assert rig.child.may_register is True


def test_a_message_that_comes_twice_is_harmless(tmp_path: Path) -> None:
    """Neither a run that runs nor one that has ended is begun again; nor an unknown one."""
    rig = Rig(tmp_path, ToldChild(leaves(RESULT)))
    run = rig.executed()
    rig.execution.execute(run.run_id)
    rig.execution.execute("unknown")
    assert len(rig.child.asked) == 1
    assert rig.run(run.run_id) == run


def test_a_problem_fails_a_run(tmp_path: Path) -> None:
    """What the child said of it is kept; without a word the exit code is told."""
    told = Rig(tmp_path, ToldChild(lambda _: Ended(1, PROBLEM))).executed()
    assert (told.state, told.error) == (RunState.FAILED, PROBLEM)
    silent = Rig(tmp_path, ToldChild(lambda _: Ended(1))).executed()
    assert silent.error is not None
    assert silent.error.found == "exit code 1"


def test_a_run_waits_for_what_is_away(tmp_path: Path) -> None:
    """It is not sent before it is due, keeps its files, and goes on then."""
    rig = Rig(tmp_path, ToldChild(lambda _: Ended(1, PROBLEM, passing=True)))
    run = rig.executed()
    assert (run.state, run.error, run.delays) == (RunState.QUEUED, PROBLEM, 1)
    assert rig.folder(run.run_id).path.exists()
    rig.execution.execute(run.run_id)
    assert rig.run(run.run_id) == run
    rig.upkeep().sweep(now())
    assert rig.outbox.sent == []
    rig.upkeep().sweep(now() + timedelta(minutes=1))
    assert rig.outbox.sent == [run.run_id]


def test_a_dead_child_is_replaced_a_few_times(tmp_path: Path) -> None:
    """A child that something killed is begun again, from its checkpoint, but not for ever."""
    rig = Rig(tmp_path, ToldChild(lambda _: Ended(exit_code=-9)))
    run_id = rig.queued()
    for attempt in range(1, MOST_LOSSES):
        rig.execution.execute(run_id)
        assert rig.run(run_id).state is RunState.QUEUED
        assert rig.outbox.sent == [run_id] * attempt
        assert rig.folder(run_id).path.exists()
    rig.execution.execute(run_id)
    assert (rig.run(run_id).state, rig.run(run_id).attempts) == (RunState.FAILED, MOST_LOSSES)


def test_a_stopping_worker_hands_its_run_back(tmp_path: Path) -> None:
    """The child may save what it learned; the run is sent on at once, and no loss is counted."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True))
    run_id = rig.queued()
    thread = rig.begin(run_id)
    rig.execution.stop()
    thread.join(WAIT_SECONDS)
    run = rig.run(run_id)
    assert (run.state, run.lost_workers, rig.outbox.sent) == (RunState.QUEUED, 0, [run_id])
    assert rig.folder(run_id).path.exists()
    rig.execution.execute(run_id)
    assert rig.run(run_id) == run


def test_a_run_that_runs_is_cancelled(tmp_path: Path) -> None:
    """Its child is stopped and its files are gone when the run says that it is cancelled."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True))
    run_id = rig.queued()
    thread = rig.begin(run_id)
    rig.store.change(run_id, cancel(now()), now())
    thread.join(WAIT_SECONDS)
    assert rig.run(run_id).state is RunState.CANCELLED
    assert not rig.folder(run_id).path.exists()
    assert not rig.child.killed


def test_a_run_to_be_cancelled_is_not_registered(tmp_path: Path) -> None:
    """A wish that comes just before the last stage still counts."""

    def act(_: Path) -> Ended:
        return Ended(exit_code=130)

    rig = Rig(tmp_path, ToldChild(act))
    report = rig.store.change

    def cancel_first(run_id: str, transition: Transition, now: datetime) -> Run | None:
        changed = report(run_id, transition, now)
        if changed is not None and changed.stage == "fit":
            report(run_id, cancel(now), now)
        return changed

    rig.store.change = cancel_first  # type: ignore[method-assign]  # the moment is what is tested
    run = rig.executed()
    assert rig.child.may_register is False
    assert run.state is RunState.CANCELLED


def test_a_run_that_is_registered_is_not_cancelled(tmp_path: Path) -> None:
    """The wish comes too late: the child is left alone, and the run has its version."""

    def act(file: Path) -> Ended:
        run_id = file.parent.name
        assert rig.store.change(run_id, cancel(now()), now()) is None
        renewals = rig.child.wanted
        wait_until(lambda: rig.child.wanted > renewals)
        assert not rig.child.stopped.is_set()
        return leaves(RESULT)(file)

    rig = Rig(tmp_path, ToldChild(act), lease=timedelta(seconds=2))
    run = rig.executed()
    assert (run.state, run.result) == (RunState.SUCCEEDED, RESULT)


def test_a_registration_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    """It must know: a wish to cancel may be the next thing that it is told."""

    def go_away(run_id: str, transition: Transition, now: datetime) -> Run | None:
        changed = change(run_id, transition, now)
        if changed is not None and changed.stage == "fit" and not gone:
            gone.append(True)
            rig.store.away = True
            threading.Timer(1.0, lambda: setattr(rig.store, "away", False)).start()
        return changed

    rig = Rig(tmp_path, ToldChild(leaves(RESULT)))
    gone: list[bool] = []
    change, rig.store.change = rig.store.change, go_away  # type: ignore[method-assign]  # the moment is what is tested
    run = rig.executed()
    assert gone
    assert rig.child.may_register is True
    assert run.registration_begun


def test_a_lost_lease_ends_the_child(tmp_path: Path) -> None:
    """Another worker has the run: this one kills its child, and leaves run and files alone."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True), lease=timedelta(seconds=2))
    run_id = rig.queued()
    thread = rig.begin(run_id)
    later = now() + timedelta(hours=1)
    rig.store.change(run_id, lose(later, most=MOST_LOSSES), later)
    rig.store.change(run_id, claim("other", later, timedelta(hours=1)), later)
    thread.join(WAIT_SECONDS)
    assert rig.child.killed
    run = rig.run(run_id)
    assert (run.state, run.worker) == (RunState.RUNNING, "other")
    assert rig.folder(run_id).path.exists()


def test_a_store_that_is_away_too_long_ends_the_child(tmp_path: Path) -> None:
    """Before the lease is over, so that no two children train one run."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True), lease=timedelta(seconds=2))
    run_id = rig.queued()
    thread = rig.begin(run_id)
    wait_until(lambda: rig.child.wanted > 0)
    rig.store.away = True
    thread.join(WAIT_SECONDS)
    assert rig.child.killed
    assert rig.run(run_id).state is RunState.RUNNING


def test_an_end_waits_for_the_store(tmp_path: Path) -> None:
    """A store that is away while a run ends loses nothing of it."""

    def act(file: Path) -> Ended:
        rig.store.away = True
        threading.Timer(0.5, lambda: setattr(rig.store, "away", False)).start()
        return leaves(RESULT)(file)

    rig = Rig(tmp_path, ToldChild(act))
    assert rig.executed().state is RunState.SUCCEEDED


def test_what_a_lost_worker_left_is_not_made_again(tmp_path: Path) -> None:
    """A result without an end of its run is that run's result: nothing is trained twice."""
    rig = Rig(tmp_path, ToldChild())
    run_id = rig.queued()
    rig.folder(run_id).make()
    rig.folder(run_id).result_file.write_text(RESULT.model_dump_json())
    rig.execution.execute(run_id)
    assert rig.run(run_id).result == RESULT
    assert rig.child.asked == []


REGISTERS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1])
if not (folder / "away").exists():
    (folder / "result.json").write_text((folder / "candidate.json").read_text())
else:
    sys.exit(4)
"""


def test_a_kept_result_is_registered_when_the_registry_is_back(tmp_path: Path) -> None:
    """The run waits as unregistered, is tried again, and ends as its gate says."""

    def act(file: Path) -> Ended:
        kept = tmp_path / "kept" / file.parent.name
        kept.mkdir(parents=True)
        (kept / "candidate.json").write_text(FAILED_RESULT.model_dump_json())
        (kept / "away").touch()
        return Ended(exit_code=4)

    rig = Rig(tmp_path, ToldChild(act))
    run = rig.executed()
    assert run.state is RunState.UNREGISTERED
    kept = KeptResults(
        rig.store, tmp_path, "v", os.environ, command=(sys.executable, "-c", REGISTERS)
    )
    kept.register()
    assert rig.run(run.run_id).state is RunState.UNREGISTERED
    (tmp_path / "kept" / run.run_id / "away").unlink()
    (tmp_path / "kept" / "by-hand").mkdir()
    kept.register()
    ended = rig.run(run.run_id)
    assert (ended.state, ended.result) == (RunState.GATE_FAILED, FAILED_RESULT)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["by-hand"]
