"""The queue before the models: rows wait here, run in batches on a few threads, and are resolved.

A request is resolved once: with one result per row, with its deadline, or by its own cancellation.
All state of requests belongs to the event loop. Threads share with it the queue alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from inference_pipeline.engine.admission import Admission, DeadlineExceededError
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.engine.packing import next_batch
from inference_pipeline.features.reader import Floats
from inference_pipeline.versions.model import Encoding
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError
from shared.logs import get_logger

log = get_logger(__name__)

_STOP_SECONDS = 10.0


class ModelFailureError(FtiError):
    """The model gave no scores for a text, even alone."""


class Model(Protocol):
    """What the scheduler runs. It is called from several threads at a time."""

    def scores(self, encodings: Sequence[Encoding], features: Floats) -> Floats:
        """Return the logits of B rows, float32 [B, labels]."""


@dataclass(frozen=True)
class Work:
    """Rows that one request asks of one model."""

    version: ModelVersion
    model: Model
    encodings: Sequence[Encoding]
    """B rows, one or more."""
    features: Floats
    """float32 [B, features]."""

    @property
    def tokens(self) -> int:
        """The length of all rows."""
        return sum(map(len, self.encodings))


Scores = Floats
"""The logits of one row, float32 [labels]."""


@dataclass(eq=False, slots=True)
class _Request:
    """A request on the event loop."""

    work: Work
    deadline: float
    entered: float
    results: list[Scores | FtiError | None]
    left: int
    done: asyncio.Future[list[Scores | FtiError]]


@dataclass(slots=True, order=True)
class _Row:
    """A row that waits. Rows are in order of deadline, then of arrival."""

    deadline: float
    arrival: int
    tokens: int = field(compare=False)
    model: Model = field(compare=False)
    request: _Request = field(compare=False)
    index: int = field(compare=False)


@dataclass(frozen=True)
class _Ran:
    """A batch that ran."""

    batch: Sequence[_Row]
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
        self._token_budget = token_budget
        self._admission = admission
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: list[_Row] = []
        self._idle_waiting: list[_Row] = []
        self._arrivals = 0
        self._free = 0
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
        return not (self._waiting or self._running)

    @property
    def waiting(self) -> int:
        """How many rows wait, those for idle time left out."""
        return len(self._waiting)

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
        request = _Request(work, deadline, now, [None] * rows, rows, loop.create_future())
        self._enter(request, self._idle_waiting if only_idle else self._waiting)
        timer = loop.call_later(deadline - now, _expire, request, deadline - now)
        try:
            return await request.done
        finally:
            timer.cancel()
            if request.left:
                self._withdraw(request)

    def close(self) -> None:
        """End the threads when their batches are done; nothing may wait any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def _enter(self, request: _Request, queue: list[_Row]) -> None:
        with self._changed:
            for index, encoding in enumerate(request.work.encodings):
                self._arrivals += 1
                row = _Row(
                    request.deadline,
                    self._arrivals,
                    max(1, len(encoding)),
                    request.work.model,
                    request,
                    index,
                )
                insort(queue, row)
            self._changed.notify(len(request.work.encodings))

    def _withdraw(self, request: _Request) -> None:
        with self._changed:
            for queue in (self._waiting, self._idle_waiting):
                queue[:] = [row for row in queue if row.request is not request]

    def _serve(self) -> None:
        """Run batches until closed. What the models raise ends in the results, never here."""
        while (taken := self._take()) is not None:
            batch, free_until = taken
            started = time.monotonic()
            results = _run(batch)
            ended = time.monotonic()
            with self._changed:
                self._running -= 1
                if self._idle_waiting:
                    # Those that wait for an idle moment may have it now.
                    self._changed.notify()
            ran = _Ran(batch, results, started=started, seconds=ended - started)
            try:
                batch[0].request.done.get_loop().call_soon_threadsafe(
                    self._deliver, ran, ended - free_until
                )
            except RuntimeError:
                # The loop is closed: nobody waits for these rows any more.
                log.warning("answers_without_a_loop", rows=len(batch))

    def _take(self) -> tuple[list[_Row], float] | None:
        """Wait for rows; return the next batch and until when there was none, None when closed."""
        free_until = time.monotonic()
        with self._changed:
            self._free += 1
            try:
                while not self._closing:
                    batch = self._pack()
                    if batch:
                        self._running += 1
                        return batch, free_until
                    self._changed.wait()
                    free_until = time.monotonic()
                return None
            finally:
                self._free -= 1

    def _pack(self) -> list[_Row]:
        queue = self._waiting
        if not queue and not self._running:
            queue = self._idle_waiting
        now = time.monotonic()
        # In order of deadline. Their timers tell those who wait.
        expired = next((at for at, row in enumerate(queue) if row.deadline > now), len(queue))
        del queue[:expired]
        chosen = next_batch(queue, token_budget=min(self._token_budget, self._share(queue)))
        batch = [queue[position] for position in chosen]
        for position in reversed(chosen):
            del queue[position]
        return batch

    def _share(self, queue: Sequence[_Row]) -> int:
        """Return the tokens that one of the free threads takes, so that none looks on."""
        if self._free == 1:
            return self._token_budget
        return -(-sum(row.tokens for row in queue) // self._free)

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
        for row, result in zip(ran.batch, ran.results, strict=True):
            request = row.request
            self._metrics.queue_time.observe(ran.started - request.entered)
            if isinstance(result, FtiError):
                self._metrics.failed_rows.labels(version.name, version.version).inc()
            request.results[row.index] = result
            request.left -= 1
            if not request.left and not request.done.done():
                request.done.set_result([found for found in request.results if found is not None])


def _expire(request: _Request, allowed: float) -> None:
    if not request.done.done():
        request.done.set_exception(
            DeadlineExceededError(
                "server",
                expected=f"an answer within {allowed:.3f} s",
                found="none by then",
                remedy="Allow more time, or send less at a time.",
            )
        )


def _run(batch: Sequence[_Row]) -> list[Scores | FtiError]:
    """Return a result per row. A batch that fails is halved until the row to blame is alone."""
    encodings = [row.request.work.encodings[row.index] for row in batch]
    features = np.stack([row.request.work.features[row.index] for row in batch])
    try:
        scores = batch[0].model.scores(encodings, features)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base class but Exception
        if len(batch) > 1:
            half = len(batch) // 2
            return _run(batch[:half]) + _run(batch[half:])
        log.error("row_failed", error=repr(error)[:500])  # noqa: TRY400 - no fault of this code
        return [_no_scores("a failing forward pass")]
    return [
        row if np.isfinite(row).all() else _no_scores("a score that is no number") for row in scores
    ]


def _no_scores(found: str) -> ModelFailureError:
    return ModelFailureError(
        "text", expected="scores from the model", found=found, remedy="The server's log tells more."
    )
