"""The dataflow: read the log, advance the features, write the store."""

from __future__ import annotations

import os
import shutil
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
from feature_pipeline.stream.advance_step import AdvanceLogic, Snapshot
from feature_pipeline.stream.cluster import ClusterMember, broken_cluster
from feature_pipeline.stream.commit_step import CommitLogic
from feature_pipeline.stream.metrics import StreamMetrics
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
        begin_after: gives the position of a partition before its first event.
        recovery: folder in which Bytewax keeps positions and states; what it pickles there is an
            integer and Arrow bytes (ADR 0004).
        member: which process of a cluster this is; None: there is no other.
    """

    task: Task
    log: EventLog
    sink: FeatureStoreSink
    initial: Callable[[int], States]
    begin_after: Callable[[int], int]
    recovery: Path
    poll: timedelta
    read_limit: int
    epoch: timedelta
    stop: Event = field(default_factory=Event)
    metrics: StreamMetrics = field(default_factory=StreamMetrics)
    member: ClusterMember | None = None

    def dataflow(self) -> Dataflow:
        """Return the steps."""
        flow = Dataflow("features")
        source = LogSource(
            self.log,
            self.poll,
            self.read_limit,
            self.stop,
            self.metrics,
            begin_after=self.begin_after,
            errors=self.sink.errors,
        )
        batches = op.input("read_log", flow, source)
        changes = op.stateful_batch("advance", batches, self._take_up)
        held = op.stateful_batch(
            "commit", changes, lambda _: CommitLogic(self.sink.writer, self.sink.errors)
        )
        op.output("write_online", held, self.sink)
        return flow

    def _take_up(self, saved: Snapshot | None) -> AdvanceLogic:
        self.metrics.took_up()
        return AdvanceLogic(self.task, self.initial, saved, self.sink.errors)

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; the state is saved then.

        Raises:
            StateError: events between the saved position and the log's beginning are gone, the
                feature store was away for too long, or another process of the cluster is gone.
        """
        make_recovery(self.recovery, self.log.partitions)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self.stop.set())
        _log.info("stream worker started", partitions=self.log.partitions)
        try:
            cli_main(
                self.dataflow(),
                epoch_interval=self.epoch,
                recovery_config=RecoveryConfig(self.recovery),
                process_id=self.member and self.member.process,
                addresses=self.member and list(self.member.addresses),
            )
        except BytewaxRuntimeError as error:
            cause = _told_cause(error)
            if cause is not None:
                raise cause from error
            raise
        except BaseException as error:
            # What Rust panics with when a connection breaks; it has no class that can be imported.
            if self.member is not None and type(error).__name__ == "PanicException":
                if self.sink.errors.error is not None:
                    raise self.sink.errors.error from error
                raise broken_cluster("one that is gone, or a connection that broke") from error
            raise
        _log.info("stream worker stopped")


def make_recovery(folder: Path, parts: int) -> None:
    """Make what Bytewax saves its states in, if it is missing: whole or not at all.

    The number of its parts is fixed for ever, and no more processes than parts can share the work
    of saving. The states are one a log partition, so as many parts are always enough.
    """
    if any(folder.glob("part-*.sqlite3")):
        return
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    init_db_dir(unfinished, parts)
    try:
        unfinished.replace(folder)
    except OSError:
        shutil.rmtree(unfinished)
        if not any(folder.glob("part-*.sqlite3")):
            raise
        # Another process of the cluster was first.


def _told_cause(error: BaseException) -> FtiError | None:
    """Return the error that tells what to do, which Bytewax wraps; None if there is none.

    The first on the way down: what it was made from, such as a driver's error, tells less.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FtiError):
        cause = cause.__cause__
    return cause
