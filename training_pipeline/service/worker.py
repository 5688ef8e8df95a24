"""The worker: a thread that executes queued runs, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from shared.logs import get_logger
from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult
from training_pipeline.service.child import Ended
from training_pipeline.service.runs import INTERRUPTED, Run, RunState, RunStore

_log = get_logger(__name__)

_IDLE_SECONDS = 1.0
_SMALLEST_REPORT = 0.005
"""Progress is written down when it grew by this much, or when the stage changes."""
_STATE_OF_EXIT = {0: RunState.SUCCEEDED, 3: RunState.GATE_FAILED, 130: RunState.INTERRUPTED}


class Child(Protocol):
    """Executes one run at a time and can be stopped from another thread."""

    def run(
        self,
        reason: str,
        *,
        result_file: Path,
        log_file: Path,
        report: Callable[[str, float], None],
    ) -> Ended:
        """Train, and return when it has ended."""

    def stop(self) -> None:
        """End the run, if there is one, and let none start after."""


class Worker:
    """Executes queued runs in order.

    A run that runs when the worker stops becomes ``interrupted``: it is not started again by
    itself, because nobody may want it any more. Runs that wait stay queued for the next start.
    """

    def __init__(
        self,
        store: RunStore,
        child: Child,
        logs: Path,
        finished: Callable[[RunState, float], None],
    ) -> None:
        """Take what is needed; nothing runs before ``start``.

        Args:
            store: holds the runs.
            child: executes one.
            logs: the folder for their logs.
            finished: hears of each final state, and of the seconds that the run took.
        """
        self._store = store
        self._child = child
        self._logs = logs
        self._finished = finished
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="training-worker", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread lives, and so whether queued runs will be executed."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Mark what a dead process left running as interrupted, then take up the queue."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for run_id in self._store.interrupt_running(_now()):
            _log.warning("run found interrupted", run_id=run_id)
        self._thread.start()

    def wake(self) -> None:
        """Look at the queue at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the child and the thread."""
        self._stopping.set()
        self._wake.set()
        self._child.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                run = self._store.start_next(_now())
                if run is None:
                    self._wake.wait(_IDLE_SECONDS)
                else:
                    self._execute_or_fail(run)
        except Exception:  # noqa: BLE001 - last resort of a thread: logged, shown as not ready
            # The thread ends, and readiness says so; what went wrong stands in the log.
            _log.exception("worker died")

    def _execute_or_fail(self, run: Run) -> None:
        """Execute a run; should the service itself fail at it, only this run fails."""
        try:
            self._execute(run)
        except Exception:  # noqa: BLE001 - whatever it is, the next run deserves its turn
            _log.exception("run could not be executed", run_id=run.run_id)
            fault = Problem(
                place="training service",
                expected="to execute the run",
                found="a fault in the service",
                remedy="The log of the service tells more; post the run again.",
            )
            self._store.finish(run.run_id, RunState.FAILED, _now(), error=fault)

    def _execute(self, run: Run) -> None:
        _log.info("run started", run_id=run.run_id, reason=run.reason)
        began = time.monotonic()
        result_file = self._logs / f"{run.run_id}.result.json"
        ended = self._child.run(
            run.reason,
            result_file=result_file,
            log_file=self._logs / f"{run.run_id}.log",
            report=_Reporter(self._store, run.run_id).report,
        )
        state, error = self._judge(ended)
        result = None
        if state in {RunState.SUCCEEDED, RunState.GATE_FAILED}:
            result = TrainResult.model_validate_json(result_file.read_bytes())
        result_file.unlink(missing_ok=True)
        self._store.finish(run.run_id, state, _now(), result=result, error=error)
        self._finished(state, time.monotonic() - began)
        _log.info("run finished", run_id=run.run_id, state=state, exit_code=ended.exit_code)

    def _judge(self, ended: Ended) -> tuple[RunState, Problem | None]:
        state = _STATE_OF_EXIT.get(ended.exit_code, RunState.FAILED)
        if state in {RunState.SUCCEEDED, RunState.GATE_FAILED}:
            return state, None
        if self._stopping.is_set() or state is RunState.INTERRUPTED:
            return RunState.INTERRUPTED, INTERRUPTED
        unexplained = Problem(
            place="training process",
            expected="an end with exit code 0 or 3",
            found=f"exit code {ended.exit_code}",
            remedy="The run's log under training/logs in FTI_HOME tells more.",
        )
        return state, ended.problem or unexplained


class _Reporter:
    """Writes progress down, but not at every step: a step takes less than a write may."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._last: tuple[str, float] = ("", 0.0)

    def report(self, stage: str, progress: float) -> None:
        last_stage, last_progress = self._last
        if stage != last_stage or progress - last_progress >= _SMALLEST_REPORT:
            self._last = (stage, progress)
            self._store.report(self._run_id, stage, progress)


def _now() -> datetime:
    return datetime.now(UTC)
