"""The worker: a Celery worker that executes one run at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from celery import Celery, signals
from celery.exceptions import WorkerShutdown

from shared.logs import get_logger
from training_pipeline.service.delivery.celery import TRAIN, queue_of
from training_pipeline.service.work.broker_link import BrokerLink
from training_pipeline.service.work.child import TrainingChild
from training_pipeline.service.work.execution import Execution
from training_pipeline.service.work.upkeep import Upkeep

_log = get_logger(__name__)


class Worker:
    """Takes messages from Celery; all that they say is which run to look at."""

    def __init__(
        self,
        app: Celery,
        queues: Sequence[str],
        *,
        execution: Execution,
        child: TrainingChild,
        upkeep: Upkeep,
    ) -> None:
        self._app = app
        self._queues = tuple(queues)
        self._execution = execution
        self._child = child
        self._upkeep = upkeep

    def run(self) -> int:
        """Work until SIGTERM or Ctrl-C, upon which the run at hand is saved and handed back.

        Returns:
            The exit code.
        """
        execution, asked_to_end = self._execution, threading.Event()

        def train(run_id: str) -> None:
            execution.execute(run_id)

        def stop(**_: object) -> None:
            asked_to_end.set()
            execution.stop()

        self._app.task(name=TRAIN)(train)
        self._app.conf.task_queues = [queue_of(name) for name in self._queues]
        signals.worker_shutting_down.connect(stop)
        _log.info("worker starts", worker=execution.worker, queues=self._queues)
        with ExitStack() as ending:
            self._child.prepare()
            ending.callback(self._child.close)
            self._upkeep.start()
            ending.callback(self._upkeep.stop)
            ending.callback(execution.stop)
            # A thread: the loop beside it keeps the connection to the broker alive.
            celery = self._app.Worker(
                pool="threads",
                concurrency=1,
                hostname=execution.worker,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                quiet=True,
                loglevel="INFO",
            )
            link = BrokerLink(celery, execution)
            link.start()
            ending.callback(link.stop)
            try:
                celery.start()
            except WorkerShutdown:
                _log.info("worker ends", worker=execution.worker)
        # Celery counts Ctrl-C as a failure; here the run at hand was handed back all the same.
        return 0 if asked_to_end.is_set() else int(celery.exitcode or 0)
