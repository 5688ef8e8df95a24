"""Dispatch: runs are kept first, then workers are told; what was not told is told again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.service.delivery.delivery import Delivery
from training_pipeline.service.runs.run import Run, RunState
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import sent

_log = get_logger(__name__)

_MOST_AT_ONCE = 100


class Dispatch:
    """Brings runs to workers. A broker that is away fails nothing: the next sweep sends."""

    def __init__(self, store: RunStore, delivery: Delivery) -> None:
        self._store = store
        self._delivery = delivery

    def post(self, run: Run, now: datetime, *, idempotency_key: str | None = None) -> Run:
        """Keep a run and tell the workers; return it, or the one that came with the key before.

        Raises:
            StateError: the run store is away, so the run was not taken.
        """
        kept = self._store.add(run, idempotency_key)
        if kept.run_id == run.run_id:
            self.send(kept, now)
        return kept

    def send(self, run: Run, now: datetime) -> bool:
        """Tell the workers of a queued run; return whether the broker took it."""
        try:
            self._delivery.send(run)
            self._store.change(run.run_id, sent(now), now)
        except StateError as error:
            _log.warning("run waits to be sent", run_id=run.run_id, error=str(error))
            return False
        return True

    def send_waiting(self, queues: Collection[str], now: datetime, *, patience: timedelta) -> None:
        """Send queued runs of some queues that are due and of which no message is on its way.

        Args:
            queues: only these.
            now: the moment.
            patience: a message that nobody has acted upon for so long counts as lost.
        """
        for run in self._store.oldest({RunState.QUEUED}, _MOST_AT_ONCE, queues):
            unsent = run.sent_at is None or run.sent_at < now - patience
            if unsent and run.due(now) and not self.send(run, now):
                return
