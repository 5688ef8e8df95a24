"""Events of a run as a stream (Server-Sent Events), which a reader takes up where it was cut."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from prometheus_client import Gauge

from shared.errors import StateError
from shared.logs import get_logger
from training_pipeline.service.api.http_errors import RequestError
from training_pipeline.service.api.run_routes import known
from training_pipeline.service.runs.run import FINAL, RunEvent
from training_pipeline.service.runs.store import RunStore

_log = get_logger(__name__)

_LOOK_SECONDS = 0.5
_HEARTBEAT_SECONDS = 15.0


class Listeners:
    """Those who read streams now: so many at most, and none after the service ends."""

    def __init__(self, most: int, gauge: Gauge) -> None:
        self._most = most
        self._gauge = gauge
        self._count = 0
        self._lock = threading.Lock()
        self.ending = threading.Event()
        """Set when the service ends: streams end, too, and readers come again elsewhere."""

    def enter(self) -> None:
        """Let one more in.

        Raises:
            RequestError: there are too many.
        """
        with self._lock:
            if self._count >= self._most:
                raise RequestError(
                    503,
                    "event streams",
                    expected=f"{self._most} readers at most",
                    found="one more",
                    remedy="Come again, or ask GET /v1/runs/{run_id} now and then.",
                )
            self._count += 1
            self._gauge.set(self._count)

    def leave(self) -> None:
        """Let one out."""
        with self._lock:
            self._count -= 1
            self._gauge.set(self._count)


class _Stream(StreamingResponse):
    """A stream that counts as read until it has ended, in whatever way it ends."""

    def __init__(self, content: AsyncIterator[str], listeners: Listeners) -> None:
        super().__init__(
            content, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._listeners = listeners

    async def __call__(self, *asgi: object) -> None:
        """Send it all, or until the reader is gone."""
        try:
            await super().__call__(*asgi)  # type: ignore[arg-type]  # passed on as they came
        finally:
            self._listeners.leave()


def event_routes(store: RunStore, listeners: Listeners) -> APIRouter:
    """Return the route of event streams."""
    router = APIRouter(prefix="/v1/runs")

    @router.get("/{run_id}/events", response_class=StreamingResponse)
    async def stream_events(
        run_id: str,
        last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,9}$")] = None,
    ) -> StreamingResponse:
        """Stream changes of a run until it is final: events ``state`` and ``progress``."""
        await run_in_threadpool(known, store, run_id)
        listeners.enter()
        return _Stream(_events(store, run_id, int(last_event_id or 0), listeners), listeners)

    return router


async def _events(
    store: RunStore, run_id: str, last: int, listeners: Listeners
) -> AsyncIterator[str]:
    spoken = time.monotonic()
    while not listeners.ending.is_set():
        try:
            found, ended = await run_in_threadpool(_look, store, run_id, last)
        except StateError as error:
            # The reader comes again with the number of its last event, and misses nothing.
            _log.warning("event stream ends early", run_id=run_id, error=str(error))
            return
        for event in found:
            yield _frame(event)
            last, spoken = event.number, time.monotonic()
        if ended or any(_is_last(event) for event in found):
            return
        if time.monotonic() - spoken >= _HEARTBEAT_SECONDS:
            yield ": still here\n\n"
            spoken = time.monotonic()
        await asyncio.sleep(_LOOK_SECONDS)


def _look(store: RunStore, run_id: str, last: int) -> tuple[Sequence[RunEvent], bool]:
    """Return the events after the last one, and whether there never will be any.

    Raises:
        StateError: the run store is away.
    """
    if found := store.events(run_id, after=last):
        return found, False
    run = store.get(run_id)
    if run is not None and not run.final:
        return (), False
    # Its last event came just now, or was read before, or is so old that it is gone.
    found = store.events(run_id, after=last)
    return found, not found


def _frame(event: RunEvent) -> str:
    told = json.dumps({"at": event.at.isoformat(), **event.data})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {told}\n\n"


def _is_last(event: RunEvent) -> bool:
    return event.kind == "state" and event.data.get("state") in FINAL
