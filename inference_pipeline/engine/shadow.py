"""Shadow traffic: requests that are answered once more, in time that nothing else needs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from inference_pipeline.engine.metrics import EngineMetrics
from shared.errors import FtiError
from shared.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")


class Shadow(Generic[T]):
    """Holds the newest requests until the server idles, and drops the rest. For one event loop."""

    def __init__(
        self,
        answer: Callable[[T], Awaitable[None]],
        *,
        idle: Callable[[], bool],
        capacity: int,
        metrics: EngineMetrics,
    ) -> None:
        """Begin empty.

        Args:
            answer: answers a request in the shadow.
            idle: tells whether nothing else is to be done.
            capacity: requests held; the oldest is dropped for a new one.
            metrics: count what is dropped.
        """
        self._answer = answer
        self._idle = idle
        self._metrics = metrics
        self._held: deque[T] = deque()
        self._capacity = capacity
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def offer(self, request: T) -> None:
        """Hold a request for an idle moment."""
        if len(self._held) == self._capacity:
            self._held.popleft()
            self._metrics.shadow_dropped.inc()
        self._held.append(request)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="shadow")

    def resume(self) -> None:
        """Say that the server may idle now."""
        self._wake.set()

    def drop_all(self) -> None:
        """Let go of everything: there is more than enough to do."""
        self._metrics.shadow_dropped.inc(len(self._held))
        self._held.clear()

    async def close(self) -> None:
        """Stop, and let go of everything."""
        self.drop_all()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._held and self._idle():
                await self._try(self._held.popleft())

    async def _try(self, request: T) -> None:
        try:
            await self._answer(request)
        except FtiError:
            # Its time ran out, or the version left: as lost as one that was dropped.
            self._metrics.shadow_dropped.inc()
        except Exception as error:  # noqa: BLE001 - the task must outlive every failure
            self._metrics.shadow_dropped.inc()
            log.error("shadow_failed", error=repr(error)[:500])  # noqa: TRY400 - no client waits
