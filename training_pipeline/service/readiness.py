"""Readiness: whether a run that is asked for now would be taken and executed."""

from __future__ import annotations

from pathlib import Path

from shared.errors import TaskError
from shared.logs import get_logger
from shared.task import load_task
from training_pipeline.service.runs import RunStore
from training_pipeline.service.worker import Worker

_log = get_logger(__name__)


class Readiness:
    """Looks at everything that a run needs of this service."""

    def __init__(self, store: RunStore, worker: Worker, task_file: Path, task_name: str) -> None:
        self._store = store
        self._worker = worker
        self._task_file = task_file
        self._task_name = task_name

    def reasons_against(self) -> list[str]:
        """Return why the service is not ready; nothing if it is. It reads and writes files."""
        reasons = []
        if not self._worker.alive:
            reasons.append("worker: its thread is dead, queued runs would wait for ever")
        try:
            self._store.check_writable()
        except OSError as error:
            _log.warning("run store cannot be written", exc_info=error)
            reasons.append("run store: it cannot be written")
        try:
            if load_task(self._task_file).name != self._task_name:
                reasons.append(f"task file: it is no longer about {self._task_name}")
        except (TaskError, OSError) as error:
            _log.warning("task file cannot be read", exc_info=error)
            reasons.append("task file: it cannot be read")
        return reasons
