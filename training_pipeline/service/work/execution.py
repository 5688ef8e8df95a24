"""The execution of a run: claimed, trained in a child process, and given its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.exit_codes import EXIT_INTERRUPTED, EXIT_KEPT
from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.run_folder import RunFolder
from training_pipeline.service.runs.run import Run, RunState
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import (
    Transition,
    claim,
    finish,
    hand_back,
    keep,
    lose,
    put_off,
)
from training_pipeline.service.work.child import Child, Ended
from training_pipeline.service.work.lease import Lease
from training_pipeline.service.work.reporter import Reporter

_log = get_logger(__name__)

MOST_LOSSES = 5
"""So many workers lost in the middle of a run, and it fails: it may be what ends them."""
MOST_DELAYS = 20
"""So often what a run needs was away, over two hours in all, and it fails."""
_RETRY_SECONDS = 1.0


class Execution:
    """Executes runs for one worker, one at a time."""

    def __init__(
        self,
        *,
        worker: str,
        store: RunStore,
        dispatch: Dispatch,
        child: Child,
        home: Path,
        task_file: Path,
        lease: timedelta,
    ) -> None:
        """Take what is needed; nothing runs yet.

        Args:
            worker: the name under which runs are claimed.
            store: holds the runs.
            dispatch: sends a run on to another worker.
            child: executes one.
            home: the training pipeline's own folder.
            task_file: what is trained for.
            lease: for how long a run is claimed without a sign of life.
        """
        self.worker = worker
        self._store = store
        self._dispatch = dispatch
        self._child = child
        self._home = home
        self._task_file = task_file
        self._lease = lease
        self._stopping = threading.Event()
        self._busy = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether nothing runs, so that a message which is on its way would be acted upon."""
        return not self._busy.is_set()

    def stop(self) -> None:
        """Begin nothing any more, and let what runs save itself; safe in a handler of signals."""
        self._stopping.set()

    def execute(self, run_id: str) -> None:
        """Execute a run, unless another worker has it or it has ended: messages come twice.

        Whatever goes wrong, the worker goes on: a run without an end is found by its lease.
        """
        if self._stopping.is_set():
            return
        self._busy.set()
        try:
            run = self._change(run_id, claim(self.worker, _now(), self._lease))
            if run is None:
                _log.info("run is not to be had", run_id=run_id)
                return
            self._carry_out(run)
        except StateError as error:
            _log.exception("run left to its lease", run_id=run_id, error=str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the next run deserves its turn
            _log.exception("run could not be executed", run_id=run_id)
            self._end(run_id, self._failed(_FAULT))
        finally:
            self._busy.clear()
            if not self._stopping.is_set():
                self._child.prepare()

    def _carry_out(self, run: Run) -> None:
        folder = RunFolder(self._home, run.run_id)
        folder.make()
        _log.info("run started", run_id=run.run_id, reason=run.reason, attempt=run.attempts)
        ended = Ended(exit_code=0)
        with Lease(
            self._store,
            run.run_id,
            self.worker,
            lasts=self._lease,
            go_on=self._child.go_on,
            stop=self._child.stop,
            kill=self._child.kill,
            worker_stops=self._stopping,
        ) as lease:
            # A worker may have been lost between the end of its child and the end of the run.
            if folder.result() is None and not folder.kept.exists():
                ended = self._child.run(
                    self._arguments(run, folder),
                    log=folder.log,
                    report=Reporter(self._store, run.run_id, self.worker).report,
                    may_register=lease.may_register,
                )
        if lease.lost:
            _log.warning("run given up", run_id=run.run_id)
            return
        after = self._judge(run.run_id, folder, ended, cancelled=lease.cancelled)
        state = None if after is None else after.state
        _log.info("run left", run_id=run.run_id, state=state, exit_code=ended.exit_code)

    def _judge(
        self, run_id: str, folder: RunFolder, ended: Ended, *, cancelled: bool
    ) -> Run | None:
        """Say what becomes of a run, by what it left rather than by how its process ended."""
        result = folder.result()
        if result is not None:
            after = self._end(run_id, finished_as(self.worker, result))
        elif cancelled:
            folder.remove()  # first: whoever sees the run cancelled finds nothing of it
            after = self._end(run_id, hand_back(self.worker, _now()))
        elif folder.kept.exists():
            _log.warning("registry is away, result is kept", run_id=run_id)
            after = self._end(run_id, keep(self.worker, _now()))
        elif ended.problem is not None and ended.passing:
            _log.warning("run is put off", run_id=run_id, found=ended.problem.found)
            wait = put_off(self.worker, _now(), ended.problem, most=MOST_DELAYS)
            after = self._end(run_id, wait)
        elif ended.problem is not None:
            after = self._end(run_id, self._failed(ended.problem))
        elif self._stopping.is_set():
            after = self._end(run_id, hand_back(self.worker, _now()))
        elif ended.exit_code < 0 or ended.exit_code == EXIT_INTERRUPTED:
            _log.error("training process ended early", run_id=run_id, exit_code=ended.exit_code)
            after = self._end(run_id, lose(_now(), most=MOST_LOSSES, worker=self.worker))
        else:
            after = self._end(run_id, self._failed(_unexplained(ended)))
        if after is not None and after.final:
            folder.remove()
        elif after is not None and after.state is RunState.QUEUED and after.due(_now()):
            self._dispatch.send(after, _now())
        return after

    def _failed(self, problem: Problem) -> Transition:
        return finish(self.worker, RunState.FAILED, _now(), error=problem)

    def _arguments(self, run: Run, folder: RunFolder) -> Sequence[str]:
        arguments = ["train", "--task", str(self._task_file), f"--reason={run.reason}"]
        arguments += ["--run-id", run.run_id, "--result", str(folder.result_file)]
        # What was learned from the same rows and settings is gone on with.
        arguments += ["--supersede", "--progress", "json"]
        arguments += ["--supervised", str(self._lease.total_seconds())]
        return [*arguments, *(["--overrides", json.dumps(run.overrides)] if run.overrides else [])]

    def _end(self, run_id: str, transition: Transition) -> Run | None:
        """Note how a run ended, and wait for a store that is away; the worker's end waits not."""
        while True:
            try:
                return self._change(run_id, transition)
            except StateError as error:
                if self._stopping.is_set():
                    raise
                _log.warning("end of a run waits for the store", run_id=run_id, error=str(error))
                time.sleep(_RETRY_SECONDS)

    def _change(self, run_id: str, transition: Transition) -> Run | None:
        return self._store.change(run_id, transition, _now())


def finished_as(worker: str, result: TrainResult) -> Transition:
    """Return the transition to the final state that a result stands for."""
    state = RunState.SUCCEEDED if result.gate.passed else RunState.GATE_FAILED
    return finish(worker, state, _now(), result=result)


_FAULT = Problem(
    place="training worker",
    expected="to execute the run",
    found="a fault in the worker",
    remedy="The log of the worker tells more; post the run again.",
)


def _unexplained(ended: Ended) -> Problem:
    return Problem(
        place="training process",
        expected=f"an end with a result, or with exit code {EXIT_KEPT} and one that is kept",
        found=f"exit code {ended.exit_code}",
        remedy="The run's log under training/logs in FTI_HOME tells more.",
    )


def _now() -> datetime:
    return datetime.now(UTC)
