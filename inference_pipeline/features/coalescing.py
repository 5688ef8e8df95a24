"""Online reads, one at a time: whoever asks in one turn of the loop, or meanwhile, shares one."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta

from inference_pipeline.features.breaker import Breaker
from inference_pipeline.features.metrics import FeatureMetrics
from inference_pipeline.features.reader import Entity, FeatureReader, OnlineRows
from shared.feature_store import FeatureService
from shared.logs import get_logger

log = get_logger(__name__)

_SECONDS_BETWEEN_WARNINGS = 10.0
_STOP_SECONDS = 1.0


@dataclass(eq=False)
class _Asked:
    """Somebody who waits for the rows of some entities."""

    service: FeatureService
    entities: Sequence[Entity]
    rows: asyncio.Future[OnlineRows | None]

    def answer(self, rows: OnlineRows | None) -> None:
        if not self.rows.done():
            self.rows.set_result(rows)


@dataclass(eq=False)
class _Read:
    """A read that is under way, and for whom."""

    asked: list[_Asked]
    overdue: bool = False
    timer: asyncio.TimerHandle | None = None


class CoalescedReads:
    """Reads features, on a thread of its own if that takes waiting. `read` is for one event loop.

    When nothing is under way a read starts at once; what comes meanwhile is read together next.
    A store that fails again and again is left alone for a while, and a read that hangs blocks no
    one but those who were there before it was known to hang.
    """

    def __init__(
        self,
        reader: FeatureReader,
        *,
        timeout: timedelta,
        metrics: FeatureMetrics,
        breaker: Breaker,
    ) -> None:
        """Start the thread.

        Args:
            reader: its reads on the thread do not overlap, nor do those on the loop.
            timeout: a read that takes longer counts as failed.
            metrics: count failures and reads that are not tried.
            breaker: decides when the store is left alone.
        """
        self._reader = reader
        self._timeout = timeout.total_seconds()
        self._metrics = metrics
        self._breaker = breaker
        self._waiting: list[_Asked] = []
        self._under_way: _Read | None = None
        self._to_begin = False
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # A daemon, so that a store that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="features", daemon=True)
        self._thread.start()

    async def read(
        self, service: FeatureService, entities: Sequence[Entity], patience: timedelta
    ) -> OnlineRows | None:
        """Return the rows of B entities, None if the store does not give them in time."""
        if (self._under_way and self._under_way.overdue) or not self._breaker.allows():
            self._metrics.reads_skipped.inc()
            return None
        loop = asyncio.get_running_loop()
        asked = _Asked(service, entities, loop.create_future())
        self._waiting.append(asked)
        timer = loop.call_later(patience.total_seconds(), asked.answer, None)
        self._begin_soon(loop)
        try:
            return await asked.rows
        finally:
            timer.cancel()

    def try_once(
        self, service: FeatureService, entities: Sequence[Entity], patience: timedelta
    ) -> None:
        """Read from another thread than the loop's; a failure is noted and no more."""
        call = _Call(service, entities)
        self._calls.put(call)
        try:
            call.result.result(patience.total_seconds())
        except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
            self._note_failure(error)

    def close(self) -> None:
        """End the thread; a read that hangs is left behind."""
        self._calls.put(None)
        self._thread.join(_STOP_SECONDS)

    def _begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the next read when all who ask in this turn of the loop have asked."""
        if not self._to_begin:
            self._to_begin = True
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the next read, if there is none and somebody still waits."""
        self._to_begin = False
        waiting = [asked for asked in self._waiting if not asked.rows.done()]
        if self._under_way or not waiting:
            return
        # A read is of one service; those who ask for another come next.
        service = waiting[0].service
        together = [asked for asked in waiting if asked.service == service]
        self._waiting = [asked for asked in waiting if asked.service != service]
        read = self._under_way = _Read(together)
        call = _Call(service, [entity for asked in together for entity in asked.entities])
        if self._done_now(call):
            self._end(read, call.result)
            return
        read.timer = loop.call_later(self._timeout, self._overdue, read)

        def ended(result: Future[OnlineRows]) -> None:
            loop.call_soon_threadsafe(self._end, read, result)

        call.result.add_done_callback(ended)
        self._calls.put(call)

    def _done_now(self, call: _Call) -> bool:
        """Read here if the store need not be waited for: a thread would cost more than the read."""
        started = time.monotonic()
        try:
            rows = self._reader.read_now(call.service, call.entities)
        except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
            call.result.set_exception(error)
            return True
        if rows is None:
            return False
        if time.monotonic() - started > self._timeout:
            # It held up everybody: such a store is to be left alone as one that fails.
            call.result.set_exception(TimeoutError())
        else:
            call.result.set_result(rows)
        return True

    def _overdue(self, read: _Read) -> None:
        read.overdue = True
        self._breaker.failed()
        self._note_failure(TimeoutError())
        self._let_go(read)

    def _end(self, read: _Read, result: Future[OnlineRows]) -> None:
        self._under_way = None
        if read.timer is not None:
            read.timer.cancel()
        error = result.exception()
        if read.overdue:
            # Its failure is noted and nobody waits for it; whether the store is well again, the
            # next read tells.
            pass
        elif error is not None:
            self._breaker.failed()
            self._note_failure(error)
            self._let_go(read)
        else:
            self._breaker.succeeded()
            rows, start = result.result(), 0
            for asked in read.asked:
                end = start + len(asked.entities)
                asked.answer(_rows_of(rows, start, end))
                start = end
        if self._waiting:
            self._begin_soon(asyncio.get_running_loop())

    def _let_go(self, read: _Read) -> None:
        """Answer those who wait for a read that failed, and those who cannot be served soon."""
        hopeless = self._waiting if read.overdue or self._breaker.state == "open" else []
        for asked in (*read.asked, *hopeless):
            asked.answer(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.result.set_result(self._reader.read(call.service, call.entities))
            except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
                call.result.set_exception(error)

    def _note_failure(self, error: BaseException) -> None:
        kind = "timeout" if isinstance(error, TimeoutError) else "error"
        self._metrics.read_failures.labels(kind).inc()
        now = time.monotonic()
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            log.warning("features_unavailable", kind=kind, error=repr(error)[:500])


@dataclass(eq=False)
class _Call:
    """What the thread is to read."""

    service: FeatureService
    entities: Sequence[Entity]
    result: Future[OnlineRows] = field(default_factory=Future)


def _rows_of(rows: OnlineRows, start: int, end: int) -> OnlineRows:
    return OnlineRows(
        values=rows.values[start:end],
        known_at={view: times[start:end] for view, times in rows.known_at.items()},
    )
