"""The prediction log: every answer ends up in the feature store, and no request waits for it.

An answer goes to a buffer in memory, from there every second to a spool on this machine's disk, and
from there in larger commits to the store. A store that is down fills the spool, then the buffer;
only then are rows dropped, and counted. SIGTERM writes what is left, or leaves it in the spool for
the next start. A crash loses what came since the last second, and doubles nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from prometheus_client import CollectorRegistry, Counter, Gauge

from inference_pipeline.engine.answer import Answer, Question
from inference_pipeline.prediction_log.limits import DEFAULT_LIMITS, LogLimits
from inference_pipeline.prediction_log.rows import Answered, logged_rows
from inference_pipeline.prediction_log.spool import Spool, open_spool
from inference_pipeline.prediction_log.table import PredictionTable
from shared.logs import get_logger
from shared.predictions import PREDICTION_LOG, prediction_schema

log = get_logger(__name__)

_SECONDS_BETWEEN_WARNINGS = 10.0
_STOP_SECONDS = 20.0


class LogMetrics:
    """What the prediction log counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter(
            "fti_inference_prediction_log_written",
            "Predictions written to the feature store.",
            registry=registry,
        )
        self.dropped = Counter(
            "fti_inference_prediction_log_dropped",
            "Predictions that are in no log, because buffer and spool were full.",
            registry=registry,
        )
        self.failures = Counter(
            "fti_inference_prediction_log_failures",
            "Commits to the feature store, or writes to the spool, that failed; they are retried.",
            registry=registry,
        )
        self.waiting = Gauge(
            "fti_inference_prediction_log_waiting",
            "Predictions on their way to the feature store.",
            registry=registry,
        )


class BufferedPredictionLog:
    """Writes answers to a table of the feature store, in a thread of its own."""

    def __init__(
        self,
        table: PredictionTable,
        *,
        spool: Path,
        metrics: LogMetrics,
        limits: LogLimits = DEFAULT_LIMITS,
        texts: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start nothing yet.

        Args:
            table: where rows end up.
            spool: the folder where they wait.
            metrics: of the log.
            limits: how much waits where, and for how long.
            texts: whether texts are kept; their fingerprints are in any case.
            clock: tells when an answer was given.
        """
        self._table = table
        self._spool_folder = spool
        self._metrics = metrics
        self._limits = limits
        self._texts = texts
        self._clock = clock
        self._buffer: deque[Answered] = deque()
        self._buffered_rows = 0
        self._lock = threading.Lock()
        """Guards the buffer, which serving fills and the thread empties."""
        self._stopping = threading.Event()
        self._held = ExitStack()
        self._next_commit = 0.0
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS
        self._thread: threading.Thread | None = None

    def offer(
        self,
        answer: Answer,
        questions: Sequence[Question],
        asked_at: datetime,
        request_id: str | None = None,
    ) -> None:
        """Put an answer into the buffer, or count it as dropped."""
        rows = len(answer.predictions)
        with self._lock:
            fits = self._buffered_rows + rows <= self._limits.buffer_rows
            if fits:
                self._buffer.append(
                    Answered(answer, questions, asked_at, self._clock(), request_id)
                )
                self._buffered_rows += rows
        if not fits:
            self._metrics.dropped.inc(rows)

    @property
    def alive(self) -> bool:
        """Whether the writing thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start to write; what an earlier process left in the spool comes first.

        Raises:
            OSError: the folder of the spool cannot be used.
        """
        schema = prediction_schema(PREDICTION_LOG)
        spool = self._held.enter_context(open_spool(self._spool_folder, schema))
        self._thread = threading.Thread(
            # A daemon, so that a store that hangs cannot keep the process from ending.
            target=self._run,
            args=[spool],
            name="prediction-log",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Write what is left, or leave it in the spool if the store does not take it now."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            if not self._thread.is_alive():
                self._held.close()

    def _run(self, spool: Spool) -> None:
        while not self._stopping.is_set():
            self._step(spool)
            self._stopping.wait(self._limits.spool_interval.total_seconds())
        self._next_commit = 0.0
        self._step(spool)

    def _step(self, spool: Spool) -> None:
        try:
            self._to_spool(spool)
            now = time.monotonic()
            if spool.rows >= self._limits.commit_rows or now >= self._next_commit:
                # Set first: a store that is down is not asked more often than one that is up.
                self._next_commit = now + self._limits.commit_interval.total_seconds()
                self._to_store(spool)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every failure
            self._note_failure(error)
        self._metrics.waiting.set(self._buffered_rows + spool.rows)

    def _to_spool(self, spool: Spool) -> None:
        """Move the buffer to the disk, unless the spool is full."""
        if spool.rows >= self._limits.spool_rows:
            return
        with self._lock:
            requests = list(self._buffer)
        if not requests:
            return
        rows = self._rows(requests)
        if rows.num_rows:
            spool.add(rows)
        with self._lock:
            for request in requests:
                self._buffer.popleft()
                self._buffered_rows -= len(request.answer.predictions)

    def _rows(self, requests: list[Answered]) -> pa.Table:
        """Return the rows of requests. One that makes no rows is dropped alone, and counted."""
        try:
            return logged_rows(requests, texts=self._texts)
        except (ValueError, TypeError) as error:  # Arrow's errors are among them
            if len(requests) == 1:
                self._metrics.dropped.inc(len(requests[0].answer.predictions))
                self._note_failure(error)
                return logged_rows([])
        return pa.concat_tables(self._rows([request]) for request in requests)

    def _to_store(self, spool: Spool) -> None:
        """Commit what is in the spool; what the store has already is not written again."""
        name = f"prediction-log-{spool.id}"
        while spool.rows:
            # The last commit may have succeeded though nobody lived to be told.
            spool.forget(self._table.mark(name) or 0)
            batch = spool.take(self._limits.commit_rows)
            if batch is None:
                return
            rows, last = batch
            self._table.append(rows, {name: last})
            self._metrics.written.inc(rows.num_rows)
            spool.forget(last)

    def _note_failure(self, error: Exception) -> None:
        self._metrics.failures.inc()
        now = time.monotonic()
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            log.warning("predictions_not_logged_yet", reason=str(error)[:500], cause=_cause(error))


def _cause(error: Exception) -> str | None:
    return None if error.__cause__ is None else repr(error.__cause__)[:500]
