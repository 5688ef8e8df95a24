"""The dataflow: read the log, advance the features, write the store."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.stream.advance_step import AdvanceLogic
from feature_pipeline.stream.sink import FeatureStoreSink
from feature_pipeline.stream.source import LogSource
from feature_pipeline.transform import States
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

    def dataflow(self) -> Dataflow:
        """Return the steps."""
        flow = Dataflow("features")
        batches = op.input("read_log", flow, LogSource(self.log, self.poll, self.read_limit))
        changes = op.stateful_batch(
            "advance", batches, lambda saved: AdvanceLogic(self.task, self.initial, saved)
        )
        op.output("write_store", changes, self.sink)
        return flow

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; what was not saved by then is done again at the next start.

        Raises:
            StateError: events between the saved position and the log's beginning are gone.
        """
        if not list(self.recovery.glob("part-*.sqlite3")):
            self.recovery.mkdir(parents=True, exist_ok=True)
            init_db_dir(self.recovery, 1)
        signal.signal(signal.SIGTERM, _interrupt)
        _log.info("stream worker started", partitions=self.log.partitions)
        try:
            cli_main(
                self.dataflow(),
                epoch_interval=self.epoch,
                recovery_config=RecoveryConfig(self.recovery),
            )
        except BytewaxRuntimeError as error:
            # Bytewax wraps what ended the dataflow, an interrupt included.
            cause = _root_cause(error)
            if isinstance(cause, FtiError):
                raise cause from error
            if not isinstance(cause, KeyboardInterrupt):
                raise
        except KeyboardInterrupt:
            pass  # it came between two steps
        _log.info("stream worker stopped")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
