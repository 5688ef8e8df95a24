"""Readiness: whether a run that is asked for now would be taken, and what would hold it up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.errors import StateError, TaskError
from shared.logs import get_logger
from shared.task import load_task
from training_pipeline.service.delivery.delivery import Delivery
from training_pipeline.service.runs.store import RunStore

_log = get_logger(__name__)

WORKER_SILENCE = timedelta(seconds=20)
"""A worker that was not heard of for so long does not count."""


@dataclass(frozen=True)
class Ready:
    """How ready the service is, in words."""

    refused: list[str]
    """Why runs are not taken; nothing if they are."""
    waiting: list[str]
    """Why runs that are taken wait."""


class Readiness:
    """Looks at everything that a run needs of this service."""

    def __init__(
        self, store: RunStore, delivery: Delivery, task_file: Path, task_name: str
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._task_file = task_file
        self._task_name = task_name

    def look(self) -> Ready:
        """Return how ready the service is. It reads and writes files."""
        task = self._task_reasons()
        try:
            self._store.check()
            workers = self._worker_reasons()
        except StateError as error:
            _log.warning("run store is away", exc_info=error)
            return Ready(["run store: it cannot be written", *task], self._broker_reasons())
        return Ready(task, [*workers, *self._broker_reasons()])

    def _worker_reasons(self) -> list[str]:
        if self._store.workers(datetime.now(UTC) - WORKER_SILENCE):
            return []
        return [f"workers: none was heard of for {WORKER_SILENCE.seconds} s; runs wait"]

    def _broker_reasons(self) -> list[str]:
        try:
            self._delivery.check()
        except StateError as error:
            _log.warning("broker is away", exc_info=error)
            return ["broker: it cannot be reached; runs wait"]
        return []

    def _task_reasons(self) -> list[str]:
        try:
            if load_task(self._task_file).name != self._task_name:
                return [f"task file: it is no longer about {self._task_name}"]
        except (TaskError, OSError) as error:
            _log.warning("task file cannot be read", exc_info=error)
            return ["task file: it cannot be read"]
        return []
