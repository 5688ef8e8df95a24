"""The queue before the models: rows wait here, run in batches on a few threads, and are resolved.

A request is resolved once: with one result per row, with its deadline, or by its own cancellation.
All state of requests belongs to the event loop. Threads share with it the queue alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference_pipeline.engine.admission import Admission, DeadlineExceededError
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.engine.timeline import BatchRun
from inference_pipeline.engine.waiting import Request, Row, Scores, WaitingRows, Work
from shared.errors import FtiError
from shared.logs import get_logger

log = get_logger(__name__)

_STOP_SECONDS = 10.0


class ModelFailureError(FtiError):
    """The model gave no scores for a text, even alone."""


@dataclass(frozen=True)
class _Taken:
    """A batch that a thread is to run."""

    rows: Sequence[Row]
    alone: bool
    """Nothing else waits or runs."""
    free_until: float
    """Until when the thread had nothing to run."""


@dataclass(frozen=True)
class _Ran:
    """A batch that ran."""

    batch: Sequence[Row]
    results: Sequence[Scores | FtiError]
    started: float
    seconds: float


class Scheduler:
    """Runs rows on threads of its own. `run` is for one event loop.

    A thread that is free takes what is there: nothing waits for a fuller batch. Rows of idle work
    run only while nothing else waits or runs, and one batch of them at a time.
    """

    def __init__(
        self, *, threads: int, token_budget: int, admission: Admission, metrics: EngineMetrics
    ) -> None:
        """Start the threads.

        Args:
            threads: batches that run at a time, each on one thread.
            token_budget: tokens of a batch, padding included.
            admission: is told how long batches take.
            metrics: count rows and batches.
        """
        self._admission = admission
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting = WaitingRows(token_budget)
        self._running = 0
        self._closing = False
        # Daemons, so that a model that hangs cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=self._serve, name=f"predict-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not (self._waiting.urgent or self._running)

    @property
    def waiting(self) -> int:
        """How many rows wait, those for idle time left out."""
        return self._waiting.urgent

    async def run(
        self, work: Work, *, deadline: float, only_idle: bool = False
    ) -> list[Scores | FtiError]:
        """Return the scores of each row, or why that row alone has none.

        When the caller is cancelled, rows that did not start leave the queue.

        Args:
            work: what to run.
            deadline: by when, on the clock `time.monotonic`.
            only_idle: run it only in time that nothing else needs.

        Raises:
            DeadlineExceededError: the deadline passed first.
        """
        loop = asyncio.get_running_loop()
        rows = len(work.encodings)
        now = time.monotonic()
        request = Request(work, only_idle, deadline, now, [None] * rows, rows, loop.create_future())
        with self._changed:
            self._waiting.enter(request)
            self._changed.notify(rows)
        timer = loop.call_later(deadline - now, _expire, request, deadline - now)
        try:
            return await request.done
        finally:
            timer.cancel()
            if request.left:
                with self._changed:
                    self._waiting.withdraw(request)

    def close(self) -> None:
        """End the threads when their batches are done; nothing may wait any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def _serve(self) -> None:
        """Run batches until closed. What the models raise ends in the results, never here."""
        while (taken := self._take()) is not None:
            started = time.monotonic()
            results = _run(taken.rows, alone=taken.alone)
            ended = time.monotonic()
            with self._changed:
                self._running -= 1
                if self._waiting.for_idle_time:
                    # Those that wait for an idle moment may have it now.
                    self._changed.notify()
            ran = _Ran(taken.rows, results, started=started, seconds=ended - started)
            try:
                taken.rows[0].request.done.get_loop().call_soon_threadsafe(
                    self._deliver, ran, ended - taken.free_until
                )
            except RuntimeError:
                # The loop is closed: nobody waits for these rows any more.
                log.warning("answers_without_a_loop", rows=len(taken.rows))

    def _take(self) -> _Taken | None:
        """Wait for rows; return the next batch, None when closed."""
        free_until = time.monotonic()
        with self._changed:
            while not self._closing:
                # One that is about to come back for rows is free too: it gets its share.
                free = len(self._threads) - self._running
                rows = self._waiting.next_batch(free=free, running=self._running)
                if rows:
                    # In idle time a core is left for who comes next.
                    alone = self.idle and not rows[0].request.only_idle
                    self._running += 1
                    return _Taken(rows, alone, free_until)
                self._changed.wait()
                free_until = time.monotonic()
            return None

    def _deliver(self, ran: _Ran, occupied: float) -> None:
        """Hand results to those who wait, on the event loop.

        Args:
            ran: what ran.
            occupied: seconds for which it took up its thread: with what lies between two batches.
        """
        tokens = max(row.tokens for row in ran.batch) * len(ran.batch)
        self._admission.observe(tokens, occupied)
        version = ran.batch[0].request.work.version
        self._metrics.batch(version, rows=len(ran.batch), tokens=tokens, seconds=ran.seconds)
        run = BatchRun(ran.started, ran.seconds, len(ran.batch), tokens)
        for row, result in zip(ran.batch, ran.results, strict=True):
            request = row.request
            timeline = request.work.timeline
            if timeline is not None and (not timeline.batches or timeline.batches[-1] is not run):
                timeline.batches.append(run)
            self._metrics.queue_time.observe(ran.started - request.entered)
            if isinstance(result, FtiError):
                self._metrics.failed_rows.labels(version.name, version.version).inc()
            request.results[row.index] = result
            request.left -= 1
            if not request.left and not request.done.done():
                request.done.set_result([found for found in request.results if found is not None])


def _expire(request: Request, allowed: float) -> None:
    if not request.done.done():
        request.done.set_exception(
            DeadlineExceededError(
                "server",
                expected=f"an answer within {max(allowed, 0.0):.3f} s",
                found="none by then",
                remedy="Allow more time, or send less at a time.",
            )
        )


def _run(batch: Sequence[Row], *, alone: bool) -> list[Scores | FtiError]:
    """Return a result per row. A batch that fails is halved until the row to blame is alone."""
    encodings = [row.request.work.encodings[row.index] for row in batch]
    features = np.stack([row.request.work.features[row.index] for row in batch])
    try:
        scores = batch[0].model.scores(encodings, features, alone=alone)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base class but Exception
        if len(batch) > 1:
            half = len(batch) // 2
            return _run(batch[:half], alone=alone) + _run(batch[half:], alone=alone)
        log.error("row_failed", error=repr(error)[:500])  # noqa: TRY400 - no fault of this code
        return [_no_scores("a failing forward pass")]
    return [
        row if np.isfinite(row).all() else _no_scores("a score that is no number") for row in scores
    ]


def _no_scores(found: str) -> ModelFailureError:
    return ModelFailureError(
        "text", expected="scores from the model", found=found, remedy="The server's log tells more."
    )
