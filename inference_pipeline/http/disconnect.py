"""Work for a client that may leave: nobody computes what nobody will read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")

_UNWATCHED_SECONDS = 0.1
"""Most answers are there sooner, and to watch a client costs a task."""


class ClientGoneError(Exception):
    """The client closed its connection before the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what some work returns; cancel it soon after the client leaves.

    Call it when the body has been read: what comes after the body is the news of the end.

    Raises:
        ClientGoneError: the client left.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("while_connected needs a task")
    watch = _Watch(request, task)
    try:
        return await work
    except asyncio.CancelledError:
        # A server that ends may have cancelled the task as well: then it stays cancelled.
        if not watch.client_left or task.uncancel() > 0:
            raise
        raise ClientGoneError from None
    finally:
        watch.end()


class _Watch:
    """Cancels a task when the client of a request leaves; looks out for that after a while."""

    def __init__(self, request: Request, task: asyncio.Task[Any]) -> None:
        self._request = request
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, self._begin)
        self._watcher: asyncio.Task[None] | None = None
        self.client_left = False

    def end(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._await_end())

    async def _await_end(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self._task.cancel()
