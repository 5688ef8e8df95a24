"""Work for clients that stay, and for clients that leave, at every moment at which they may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request
from starlette.types import Message

from inference_pipeline.http import disconnect
from inference_pipeline.http.disconnect import ClientGoneError, while_connected


class Client:
    """One end of a connection whose request has been read."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.watched = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def _receive(self) -> Message:
        self.watched.set()
        await self._gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """Work that is done when it is told so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stopped = False

    def finish(self) -> None:
        """Have the answer."""
        self._answer.set_result("answer")

    async def do(self) -> str:
        """Return the answer."""
        self.begun.set()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.stopped = True
            raise


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are watched from the first moment."""
    monkeypatch.setattr(disconnect, "_UNWATCHED_SECONDS", 0)


Story = Callable[[Client, Work, "asyncio.Task[str]"], Awaitable[None]]


def tell(story: Story) -> None:
    """Run a story of a client, its work and the task that does it; no task may outlive it."""

    async def told() -> None:
        client, work = Client(), Work()
        task = asyncio.create_task(while_connected(client.request, work.do()))
        await work.begun.wait()
        await story(client, work, task)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(told())


@pytest.mark.usefixtures("at_once")
def test_who_leaves_stops_the_work() -> None:
    """The work is cancelled, and the task that did it is not: it can still answer."""

    async def story(client: Client, work: Work, task: asyncio.Task[str]) -> None:
        await client.watched.wait()
        client.leave()
        with pytest.raises(ClientGoneError):
            await task
        assert work.stopped
        assert task.cancelling() == 0

    tell(story)


def test_who_left_before_the_watch_began_stops_the_work() -> None:
    """The first look finds out."""

    async def story(client: Client, work: Work, task: asyncio.Task[str]) -> None:
        client.leave()
        assert not client.watched.is_set()
        with pytest.raises(ClientGoneError):
            await task
        assert work.stopped

    tell(story)


@pytest.mark.usefixtures("at_once")
def test_a_quick_answer_costs_no_watch() -> None:
    """Once it is there nobody looks for a client that left, nor begins to."""

    async def at_hand() -> str:
        return "answer"

    async def told() -> None:
        client = Client()
        client.leave()
        assert await while_connected(client.request, at_hand()) == "answer"
        for _ in range(5):
            await asyncio.sleep(0)
        assert not client.watched.is_set()

    asyncio.run(told())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("first", ["answer", "client"])
def test_a_client_that_leaves_with_the_answer_there(first: str) -> None:
    """In the same turn of the loop either may win; nothing is cancelled afterwards."""

    async def story(client: Client, work: Work, task: asyncio.Task[str]) -> None:
        await client.watched.wait()
        turns = [work.finish, client.leave]
        for turn in turns if first == "answer" else reversed(turns):
            turn()
        outcome, *_ = await asyncio.gather(task, return_exceptions=True)
        assert outcome == "answer" or isinstance(outcome, ClientGoneError)
        assert task.cancelling() == 0

    tell(story)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("left", [False, True])
def test_a_server_that_ends_cancels_the_task(left: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Its cancellation stays one, also when the client leaves at the same time."""

    async def story(client: Client, work: Work, task: asyncio.Task[str]) -> None:
        await client.watched.wait()
        if left:
            client.leave()
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.stopped

    tell(story)
