"""Upkeep: what every worker does every few seconds, so that no run is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.run import HELD, RunState, WorkerSign
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import lose
from training_pipeline.service.sign_of_life import SignOfLife
from training_pipeline.service.work.execution import MOST_LOSSES, Execution

_log = get_logger(__name__)

_INTERVAL = 2.0
_PATIENCE = timedelta(seconds=10)
"""A message that an idle worker has not met for so long counts as lost."""
_MOST_AT_ONCE = 100


@dataclass(frozen=True)
class Chore:
    """Something to be done now and then."""

    every_seconds: float
    do: Callable[[], None]


class Upkeep:
    """Signs that the worker lives, and sweeps up after workers and messages that were lost.

    Only an idle worker sends again what waits: while all are busy, messages wait rightly, and
    more of them would help nobody.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        dispatch: Dispatch,
        execution: Execution,
        queues: Sequence[str],
        chores: Sequence[Chore] = (),
        sign_of_life: SignOfLife | None = None,
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._execution = execution
        self._queues = tuple(queues)
        self._chores = tuple(chores)
        self._sign_of_life = sign_of_life or SignOfLife(None)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, name="upkeep", daemon=True)
        self._chore_thread = threading.Thread(target=self._keep_house, name="chores", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()
        self._chore_thread.start()

    def stop(self) -> None:
        """End, and sign off."""
        self._done.set()
        self._thread.join()
        try:
            self._store.sign_off(self._execution.worker)
        except StateError as error:
            _log.warning("worker ends without a word", error=str(error))

    def sweep(self, now: datetime) -> None:
        """Do all of it once.

        Raises:
            StateError: the run store is away.
        """
        name = self._execution.worker
        self._store.sign(WorkerSign(name=name, queues=self._queues, heard_at=now))
        for run in self._store.oldest(HELD, _MOST_AT_ONCE):
            lost = self._store.change(run.run_id, lose(now, most=MOST_LOSSES), now)
            if lost is None:
                continue
            _log.warning("worker lost", run_id=run.run_id, worker=run.worker, state=lost.state)
            if lost.state is RunState.QUEUED:
                self._dispatch.send(lost, now)
        if self._execution.idle:
            self._dispatch.send_waiting(self._queues, now, patience=_PATIENCE)

    def _keep_on(self) -> None:
        while not self._done.is_set():
            self._sign_of_life.give()
            try:
                self.sweep(datetime.now(UTC))
            except StateError as error:
                _log.warning("sweep waits for the run store", error=str(error))
            except Exception:  # noqa: BLE001 - a worker that no longer sweeps would go unnoticed
                _log.exception("sweep failed")
            self._done.wait(_INTERVAL)

    def _keep_house(self) -> None:
        """Do chores beside the sweeps, since they may take long."""
        due = [0.0] * len(self._chores)
        while not self._done.wait(_INTERVAL):
            for number, chore in enumerate(self._chores):
                if time.monotonic() < due[number]:
                    continue
                due[number] = time.monotonic() + chore.every_seconds
                try:
                    chore.do()
                except (StateError, OSError) as error:
                    _log.warning("chore put off", chore=chore.do.__qualname__, error=str(error))
                except Exception:  # noqa: BLE001 - the next time may be better
                    _log.exception("chore failed", chore=chore.do.__qualname__)
