"""The load generator counts and times what a server really did."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.generator import run_load
from benchmarks.serving.load import Load, LoadSpec

Reply = Callable[[int], Awaitable[tuple[int, str]]]
"""Takes the number of the request, from 0; gives status and label."""


@contextmanager
def answering(reply: Reply) -> Iterator[int]:
    """Serve HTTP by hand, so that each answer is known beforehand; give the port."""
    started = threading.Event()
    state: dict[str, Any] = {"asked": 0}
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while head := await reader.readline():
            length = 0
            while (head := await reader.readline()) != b"\r\n":
                name, _, value = head.decode().partition(":")
                length = int(value) if name == "Content-Length" else length
            await reader.readexactly(length)
            number, state["asked"] = state["asked"], state["asked"] + 1
            status, label = await reply(number)
            if not status:
                writer.transport.abort()
                return
            body = json.dumps({"label": label, "degraded": number % 5 == 0}).encode()
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
            writer.write(body)

    async def serve() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        state["port"] = server.sockets[0].getsockname()[1]
        state["stop"], state["loop"] = asyncio.Event(), asyncio.get_running_loop()
        started.set()
        await state["stop"].wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield state["port"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(10)


@pytest.fixture
def spec(tmp_path: Path) -> LoadSpec:
    question = {"text": "t", "subject_id": "s", "source_id": "o", "labels": {"all.fp32": "right"}}
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([question] * 3))
    return LoadSpec(
        port=0,
        path="/predict",
        fields=["text"],
        label_at=["label"],
        degraded_at=["degraded"],
        questions=str(questions),
        right="all.fp32",
        connections=2,
        rate=None,
        seconds=0.3,
        warm_up_seconds=0.0,
        seed=1,
    )


def load(spec: LoadSpec, reply: Reply) -> Load:
    with answering(reply) as port:
        return run_load(replace(spec, port=port))


def test_each_answer_is_counted_once_as_what_it_is(spec: LoadSpec) -> None:
    """Right, wrong, refused, failed and broken answers are told apart and sum up."""
    kinds = [(200, "right"), (200, "wrong"), (429, "right"), (500, "right"), (0, "")]

    async def reply(number: int) -> tuple[int, str]:
        await asyncio.sleep(0.001)
        return kinds[number % len(kinds)]

    found = load(spec, reply)
    assert found.asked == found.answered + found.refused + found.failed
    share = found.asked / len(kinds)
    assert found.asked > 20
    for counted, kinds_of_it in (
        (found.answered, 2),
        (found.wrong, 1),
        (found.degraded, 1),
        (found.refused, 1),
        (found.failed, 2),
    ):
        assert abs(counted - kinds_of_it * share) <= 2


def test_a_stall_cannot_hide_the_questions_that_waited(spec: LoadSpec) -> None:
    """In an open loop, latency counts from when a question was due, not from when it was sent."""

    async def reply(number: int) -> tuple[int, str]:
        await asyncio.sleep(0.5 if number == 0 else 0)
        return 200, "right"

    found = load(replace(spec, connections=1, rate=200.0, seconds=0.4), reply)
    assert found.failed == 0
    assert found.p50_ms > 200


def test_questions_without_an_answer_are_failures(
    spec: LoadSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never answers shows as failures with the time they waited, not as nothing."""
    monkeypatch.setattr("benchmarks.serving.generator.DRAIN_SECONDS", 1.0)

    async def reply(number: int) -> tuple[int, str]:
        await asyncio.sleep(3600 if number else 0)
        return 200, "right"

    found = load(replace(spec, rate=100.0), reply)
    assert found.answered == 1
    assert found.failed == found.asked - 1 > 5
    assert found.p99_ms > 1000
    assert found.elapsed_seconds < 1, "the wait for what never came is no part of the work"
    assert found.per_second == pytest.approx(1 / found.elapsed_seconds)
