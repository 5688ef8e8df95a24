"""The dataflow: read the log, advance the features, write the store."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from feature_pipeline.definition.transform import States
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.stream.advance_step import AdvanceLogic
from feature_pipeline.stream.sink import FeatureStoreSink
from feature_pipeline.stream.source import LogSource
from shared.errors import FtiError
from shared.logs import get_logger
from shared.task import Task

_log = get_logger(__name__)


@dataclass(frozen=True)
class StreamWorker:
    """Runs the dataflow in this process until it is told to stop.

    Attributes:
        initial: gives the states of a partition before its first event.
        recovery: folder in which Bytewax keeps positions and states; what it pickles there is an
            integer and Arrow bytes (ADR 0004).
    """

    task: Task
    log: EventLog
    sink: FeatureStoreSink
    initial: Callable[[int], States]
    recovery: Path
    poll: timedelta
    read_limit: int
    epoch: timedelta
    stop: Event = field(default_factory=Event)

    def dataflow(self) -> Dataflow:
        """Return the steps."""
        flow = Dataflow("features")
        source = LogSource(self.log, self.poll, self.read_limit, self.stop)
        batches = op.input("read_log", flow, source)
        changes = op.stateful_batch(
            "advance", batches, lambda saved: AdvanceLogic(self.task, self.initial, saved)
        )
        op.output("write_store", changes, self.sink)
        return flow

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; the state is saved then.

        Raises:
            StateError: events between the saved position and the log's beginning are gone.
        """
        if not list(self.recovery.glob("part-*.sqlite3")):
            self.recovery.mkdir(parents=True, exist_ok=True)
            init_db_dir(self.recovery, 1)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self.stop.set())
        _log.info("stream worker started", partitions=self.log.partitions)
        try:
            cli_main(
                self.dataflow(),
                epoch_interval=self.epoch,
                recovery_config=RecoveryConfig(self.recovery),
            )
        except BytewaxRuntimeError as error:
            cause = _root_cause(error)
            if isinstance(cause, FtiError):
                raise cause from error
            raise
        _log.info("stream worker stopped")


def _root_cause(error: BaseException) -> BaseException:
    """Return what ended the dataflow, which Bytewax wraps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
