"""Work for a client that may leave: nobody computes what nobody will read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed its connection before the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what some work returns; cancel it when the client leaves.

    Call it when the body has been read: what comes after the body is the news of the end.

    Raises:
        ClientGoneError: the client left.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("while_connected needs a task")
    working = True

    def left(_: asyncio.Task[None]) -> None:
        if working:
            task.cancel()

    watcher = asyncio.create_task(_end_of(request))
    watcher.add_done_callback(left)
    try:
        return await work
    except asyncio.CancelledError:
        if not watcher.done():
            raise
        task.uncancel()
        raise ClientGoneError from None
    finally:
        working = False
        watcher.cancel()


async def _end_of(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
