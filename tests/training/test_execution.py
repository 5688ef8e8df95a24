"""The execution of runs by a worker, with a child that does as it is told."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import StateError
from tests.training.outbox import Outbox
from tests.training.test_runs import RESULT
from training_pipeline.problem import Problem
from training_pipeline.result import GateResult
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.run_folder import RunFolder
from training_pipeline.service.runs.memory import MemoryRunStore
from training_pipeline.service.runs.run import Run, RunState, new_run
from training_pipeline.service.runs.transitions import Transition, cancel, claim, keep, lose
from training_pipeline.service.work.child import Ended, Heard
from training_pipeline.service.work.execution import MOST_LOSSES, Execution
from training_pipeline.service.work.kept_results import KeptResults
from training_pipeline.service.work.leftovers import Leftovers
from training_pipeline.service.work.upkeep import Upkeep

WAIT_SECONDS = 20.0
PROBLEM = Problem(place="here", expected="this", found="that")
FAILED_RESULT = RESULT.model_copy(update={"gate": GateResult(passed=False, reasons=["weak"])})


class AbsentStore(MemoryRunStore):
    """A store that can be away."""

    away = False

    def change(self, run_id: str, transition: Transition, now: datetime) -> Run | None:
        """Apply a transition, or raise StateError."""
        if self.away:
            raise StateError("run store", expected="one that answers", found="none")
        return super().change(run_id, transition, now)


@dataclass
class ToldChild:
    """A child that ends as it is told: at once, or when it is stopped."""

    act: Callable[[Path], Ended] = lambda _: Ended(exit_code=0)
    until_stopped: bool = False
    asked: list[Sequence[str]] = field(default_factory=list)
    wanted: int = 0
    may_register: bool | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    killed: bool = False

    def prepare(self) -> None:
        """Forget that it was stopped."""
        self.stopped.clear()

    def run(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        report: Callable[[Heard], None],
        may_register: Callable[[], bool],
    ) -> Ended:
        """Report, wait if it is to, and end."""
        self.asked.append(arguments)
        assert log.parent.is_dir()
        report(Heard("fit", 0.5, {"loss": 0.7}))
        if self.until_stopped:
            assert self.stopped.wait(WAIT_SECONDS)
            return Ended(exit_code=130)
        self.may_register = may_register()
        return self.act(Path(arguments[arguments.index("--result") + 1]))

    def go_on(self) -> None:
        """Note that it is wanted."""
        self.wanted += 1

    def stop(self) -> None:
        """Let it end."""
        self.stopped.set()

    def kill(self) -> None:
        """Let it end, and note how."""
        self.killed = True
        self.stopped.set()


def leaves(result: object) -> Callable[[Path], Ended]:
    """Return what a child does that writes its result."""

    def act(file: Path) -> Ended:
        file.write_text(RESULT.model_validate(result).model_dump_json())
        return Ended(exit_code=0)

    return act


@dataclass
class Rig:
    """A worker's execution, and what is around it."""

    home: Path
    child: ToldChild
    lease: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Put it together."""
        self.store, self.outbox = AbsentStore(), Outbox()
        self.dispatch = Dispatch(self.store, self.outbox)
        self.execution = Execution(
            worker="w",
            store=self.store,
            dispatch=self.dispatch,
            child=self.child,
            home=self.home,
            task_file=Path("task.toml"),
            lease=self.lease,
        )

    def queued(self) -> str:
        """Add a run."""
        overrides = {"epochs": 2}
        return self.store.add(new_run("drift", _now(), overrides=overrides)).run_id

    def executed(self) -> Run:
        """Add a run and execute it."""
        run_id = self.queued()
        self.execution.execute(run_id)
        return self.run(run_id)

    def run(self, run_id: str) -> Run:
        """Return a run."""
        run = self.store.get(run_id)
        assert run is not None
        return run

    def folder(self, run_id: str) -> RunFolder:
        """Return the files of a run."""
        return RunFolder(self.home, run_id)

    def begin(self, run_id: str) -> threading.Thread:
        """Execute a run on a thread, and return when its child runs."""
        thread = threading.Thread(target=self.execution.execute, args=(run_id,))
        thread.start()
        _until(lambda: self.run(run_id).stage == "fit")
        return thread


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    upkeep_of(rig).sweep(_now())
    assert rig.outbox.sent == []
    upkeep_of(rig).sweep(_now() + timedelta(minutes=1))
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
    rig.store.change(run_id, cancel(_now()), _now())
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


def test_a_lost_lease_ends_the_child(tmp_path: Path) -> None:
    """Another worker has the run: this one kills its child, and leaves run and files alone."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True), lease=timedelta(seconds=2))
    run_id = rig.queued()
    thread = rig.begin(run_id)
    later = _now() + timedelta(hours=1)
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
    _until(lambda: rig.child.wanted > 0)
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


def upkeep_of(rig: Rig) -> Upkeep:
    return Upkeep(
        store=rig.store, dispatch=rig.dispatch, execution=rig.execution, queues=("default",)
    )


def test_a_sweep_finds_what_was_lost(tmp_path: Path) -> None:
    """Runs of lost workers, and runs whose message was lost or never sent, are sent again."""
    rig = Rig(tmp_path, ToldChild())
    unsent, lost, other = rig.queued(), rig.queued(), rig.queued()
    elsewhere = rig.store.add(new_run("x", _now(), queue="gpu")).run_id
    rig.store.change(lost, claim("v", _now(), timedelta(seconds=30)), _now())
    rig.store.change(other, claim("u", _now(), timedelta(hours=1)), _now())
    upkeep = upkeep_of(rig)
    upkeep.sweep(_now())
    assert rig.outbox.sent == [unsent]
    assert [worker.name for worker in rig.store.workers(_now() - timedelta(minutes=1))] == ["w"]
    upkeep.sweep(_now() + timedelta(seconds=5))
    assert rig.outbox.sent == [unsent]
    later = _now() + timedelta(seconds=45)
    upkeep.sweep(later)
    assert rig.outbox.sent == [unsent, lost, unsent]
    assert rig.run(lost).lost_workers == 1
    assert rig.run(other).worker == "u"
    assert elsewhere not in rig.outbox.sent


def test_a_broker_that_is_back_gets_what_waits(tmp_path: Path) -> None:
    """While it is away nothing counts as sent."""
    rig = Rig(tmp_path, ToldChild())
    run_id = rig.queued()
    rig.outbox.away = True
    upkeep_of(rig).sweep(_now())
    rig.outbox.away = False
    upkeep_of(rig).sweep(_now())
    assert rig.outbox.sent == [run_id]


def test_a_busy_worker_sends_nothing_again(tmp_path: Path) -> None:
    """Its own message waits behind its run: more of them would only pile up."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True))
    running, waiting = rig.queued(), rig.queued()
    thread = rig.begin(running)
    upkeep_of(rig).sweep(_now())
    assert waiting not in rig.outbox.sent
    rig.execution.stop()
    thread.join(WAIT_SECONDS)


def test_leftovers_go_when_nobody_needs_them(tmp_path: Path) -> None:
    """Folders of final runs at once, their logs after a while; what is not final stays."""
    rig = Rig(tmp_path, ToldChild(lambda _: Ended(1, PROBLEM)))
    ended, waiting, kept = rig.executed().run_id, rig.queued(), rig.queued()
    rig.store.change(kept, claim("w", _now(), timedelta(hours=1)), _now())
    rig.store.change(kept, keep("w", _now()), _now())
    for run_id in (ended, waiting, kept, "unknown"):
        rig.folder(run_id).make()
        rig.folder(run_id).kept.mkdir(parents=True)
        rig.folder(run_id).log.touch()
    Leftovers(rig.store, tmp_path, timedelta(days=1)).remove()
    assert not rig.folder(ended).path.exists()
    assert not rig.folder(ended).kept.exists()
    assert rig.folder(waiting).path.exists()
    assert rig.folder(kept).kept.exists()
    assert rig.folder(ended).log.exists()
    old = time.time() - 2 * 86_400
    for run_id in (ended, waiting, "unknown"):
        os.utime(rig.folder(run_id).log, (old, old))
    Leftovers(rig.store, tmp_path, timedelta(days=1)).remove()
    logs = {path.stem for path in (tmp_path / "logs").iterdir()}
    assert logs == {waiting, kept}


def test_two_may_remove_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run and the sweep of leftovers meet: what is gone already is no fault."""
    folder = RunFolder(tmp_path, "one")
    folder.make()
    (folder.path / "checkpoints").mkdir()
    (folder.path / "result.json").touch()
    unlink = os.unlink

    def removed_by_another(path: str, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", removed_by_another)
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def _now() -> datetime:
    return datetime.now(UTC)
