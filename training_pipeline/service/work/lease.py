"""The lease of a run: as long as it is renewed, no other worker takes the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.service.runs.run import RunState
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import Transition, begin_registration, renew

_log = get_logger(__name__)

_RENEWALS = 10
"""How often a lease is renewed in the time that it lasts."""
_LONGEST_INTERVAL = 1.0
"""Seconds between renewals at most: they tell of a wish to cancel."""
_RETRY_SECONDS = 0.5
_SAFE_SHARE = 0.8
"""Of the lease; when the store was away for so long, the run is given up in time."""


class Lease:
    """Renews a lease from a thread of its own, while the context lasts.

    It ends the work when the run is to be cancelled, when the worker stops, when another worker
    has the run, and when it could not be renewed for so long that another may have it soon.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        worker: str,
        *,
        lasts: timedelta,
        go_on: Callable[[], None],
        stop: Callable[[], None],
        kill: Callable[[], None],
        worker_stops: threading.Event,
    ) -> None:
        """Take what is needed; nothing happens before the context begins.

        Args:
            store: where the run is.
            run_id: which.
            worker: who holds it, from just now.
            lasts: for how long, from each renewal.
            go_on: tells the work, after each renewal, that it is still wanted.
            stop: ends the work in order; may take a while.
            kill: ends it at once.
            worker_stops: is set when the worker is to end.
        """
        self._store = store
        self._run_id = run_id
        self._worker = worker
        self._lasts = lasts
        self._go_on = go_on
        self._stop = stop
        self._kill = kill
        self._worker_stops = worker_stops
        self._renewed = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.cancelled = False
        """Whether the run is to be cancelled."""
        self.lost = False
        """Whether the run is another's, or may be."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def renewed(self) -> bool:
        """Renew now; return whether the run is still to be carried on, here.

        A store that is away refuses nothing as long as the lease lasts.
        """
        self._change(renew)
        return not (self.lost or self.cancelled)

    def may_register(self) -> bool:
        """Renew, and note that the registration begins; return whether it may.

        A store that is away is waited for: it must know, since a wish to cancel may come next.
        """
        while not self._change(begin_registration):
            if self.lost or self._worker_stops.wait(_RETRY_SECONDS):
                return False
        return not (self.lost or self.cancelled)

    def _change(self, renewal: Callable[[str, datetime, timedelta], Transition]) -> bool:
        """Renew in this way; return whether the store answered."""
        try:
            now = datetime.now(UTC)
            run = self._store.change(self._run_id, renewal(self._worker, now, self._lasts), now)
        except StateError as error:
            _log.warning("lease not renewed", run_id=self._run_id, error=str(error))
            away = time.monotonic() - self._renewed
            self.lost = self.lost or away > self._lasts.total_seconds() * _SAFE_SHARE
            return False
        self._renewed = time.monotonic()
        self.lost = self.lost or run is None
        # For good: another thread's answer may be an older one.
        self.cancelled = self.cancelled or (run is not None and run.state is RunState.CANCELLING)
        if not self.lost:
            self._go_on()
        return True

    def _keep(self) -> None:
        interval = min(self._lasts.total_seconds() / _RENEWALS, _LONGEST_INTERVAL)
        stopping: threading.Thread | None = None
        # Again and again until the work has ended, since it may not even have begun.
        while not self._done.wait(interval):
            going_on = not self.lost and self.renewed()
            if self.lost:
                _log.error("run is another worker's, and is ended here", run_id=self._run_id)
                self._kill()
            elif (not going_on or self._worker_stops.is_set()) and not _alive(stopping):
                # Beside the renewals: a child that saves keeps its run.
                stopping = threading.Thread(target=self._stop, name="stopping", daemon=True)
                stopping.start()
        if stopping is not None:
            stopping.join()


def _alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
