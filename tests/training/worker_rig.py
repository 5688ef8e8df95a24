"""A worker's execution without processes: its child does as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.errors import StateError
from tests.training.outbox import Outbox
from tests.training.run_samples import RESULT
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.run_folder import RunFolder
from training_pipeline.service.runs.memory import MemoryRunStore
from training_pipeline.service.runs.run import Run, new_run
from training_pipeline.service.runs.transitions import Transition
from training_pipeline.service.work.child import Ended, Heard
from training_pipeline.service.work.execution import Execution
from training_pipeline.service.work.upkeep import Upkeep

WAIT_SECONDS = 20.0


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


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

    def upkeep(self) -> Upkeep:
        """Return what sweeps for the worker."""
        return Upkeep(
            store=self.store,
            dispatch=self.dispatch,
            execution=self.execution,
            queues=("default",),
        )

    def queued(self) -> str:
        """Add a run."""
        overrides = {"epochs": 2}
        return self.store.add(new_run("drift", now(), overrides=overrides)).run_id

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
        wait_until(lambda: self.run(run_id).stage == "fit")
        return thread


def wait_until(true: Callable[[], bool]) -> None:
    """Return when something has become true, which it must soon."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
