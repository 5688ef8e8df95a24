"""The reporter of a run: tells the store how far the run is."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import report
from training_pipeline.service.work.child import Heard

_log = get_logger(__name__)

_SMALLEST_REPORT = 0.005
"""Progress is written down when it grew by this much, when the stage changes,"""
_LONGEST_SILENCE = 10.0
"""and after so many seconds."""


class Reporter:
    """Writes progress down, but not at every step: a step takes less than a write may."""

    def __init__(self, store: RunStore, run_id: str, worker: str) -> None:
        """Take where the run is, which it is, and who has it."""
        self._store = store
        self._run_id = run_id
        self._worker = worker
        self._last: Heard | None = None
        self._written = 0.0

    def report(self, heard: Heard) -> None:
        """Write down what is worth it."""
        last, now = self._last, time.monotonic()
        worth = (
            last is None
            or heard.stage != last.stage
            or bool(heard.figures) != bool(last.figures)
            or heard.progress - last.progress >= _SMALLEST_REPORT
            or now - self._written >= _LONGEST_SILENCE
        )
        if not worth:
            return
        self._last, self._written = heard, now
        try:
            self._store.change(
                self._run_id,
                report(self._worker, heard.stage, heard.progress, heard.figures),
                datetime.now(UTC),
            )
        except StateError as error:
            # The run matters more than what is told of it; the lease decides whether it goes on.
            _log.warning("progress not written down", run_id=self._run_id, error=str(error))
