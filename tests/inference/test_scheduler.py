"""Rows in, results out: each request is resolved once, whatever happens to it and around it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from inference_pipeline.engine.admission import Admission, DeadlineExceededError
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.engine.scheduler import ModelFailureError, Scheduler
from inference_pipeline.engine.waiting import Scores, Work
from inference_pipeline.features.reader import Floats
from inference_pipeline.versions.model import Encoding
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError

VERSION = ModelVersion("tiny", "1", created=1)
POISON, NOT_A_NUMBER = 13, 14
LONG = 60.0


class FirstTokens:
    """Scores a row with its first token, and remembers what ran together."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.alone: list[bool] = []
        self.passes = 0
        self.go = threading.Event()
        self.go.set()

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Return each row's first token and its feature; fail on a poisoned row."""
        self.go.wait()
        if self.seconds:
            time.sleep(self.seconds)
        firsts = [int(encoding.ids[0]) for encoding in encodings]
        self.alone.append(alone)
        self.passes += 1
        if POISON in firsts:
            raise RuntimeError("no forward pass")
        self.batches.append(firsts)
        tops = [np.nan if first == NOT_A_NUMBER else first for first in firsts]
        return np.stack([np.array(tops, np.float32), features[:, 0]], axis=1)


@dataclass
class Trial:
    """A scheduler with what it tells."""

    scheduler: Scheduler
    registry: CollectorRegistry = field(repr=False)
    admission: Admission = field(repr=False)


@asynccontextmanager
async def scheduling(*, threads: int = 2, token_budget: int = 64) -> AsyncIterator[Trial]:
    """A scheduler that is closed in the end, when its threads have nothing to do."""
    registry = CollectorRegistry()
    admission = Admission(threads=threads)
    scheduler = Scheduler(
        threads=threads,
        token_budget=token_budget,
        admission=admission,
        metrics=EngineMetrics(registry),
    )
    try:
        yield Trial(scheduler, registry, admission)
    finally:
        await asyncio.to_thread(scheduler.close)


def work(model: FirstTokens, firsts: Sequence[int], *, length: int = 4) -> Work:
    """Rows that are told apart by their first token; the feature is ten times that."""
    encodings = [Encoding(np.array([first] + [0] * (length - 1))) for first in firsts]
    features = np.array([[10 * first] for first in firsts], np.float32)
    return Work(VERSION, model, encodings, features)


def seconds_from_now(seconds: float) -> float:
    """Return a deadline."""
    return time.monotonic() + seconds


def plain(results: Sequence[Scores | FtiError]) -> list[list[float] | str]:
    """Return results in a form that can be compared."""
    return [
        type(result).__name__ if isinstance(result, FtiError) else result.tolist()
        for result in results
    ]


async def soon(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = seconds_from_now(10)
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_rows_come_back_in_their_order() -> None:
    """Each row has its own scores, made from its own features."""

    async def trial() -> list[list[float] | str]:
        async with scheduling() as at:
            firsts = work(FirstTokens(), range(20, 40))
            return plain(await at.scheduler.run(firsts, deadline=seconds_from_now(LONG)))

    assert asyncio.run(trial()) == [[first, 10 * first] for first in range(20, 40)]


def test_nothing_waits_while_a_thread_is_free() -> None:
    """A row that comes alone runs alone and at once; two that come together use both threads."""

    async def trial() -> list[list[int]]:
        model = FirstTokens()
        async with scheduling(threads=2) as at:
            await at.scheduler.run(work(model, [1]), deadline=seconds_from_now(LONG))
            await at.scheduler.run(work(model, [2, 3]), deadline=seconds_from_now(LONG))
        return model.batches

    alone, *halves = asyncio.run(trial())
    assert alone == [1]
    assert sorted(halves) == [[2], [3]]


def test_a_pass_is_told_whether_it_is_alone() -> None:
    """It may take all cores when nothing else waits or runs, and only then."""

    async def trial() -> tuple[list[bool], list[bool]]:
        lone, busy = FirstTokens(), FirstTokens()
        async with scheduling(threads=2) as at:
            await at.scheduler.run(work(lone, [1]), deadline=seconds_from_now(LONG))
            await at.scheduler.run(work(lone, [2]), deadline=seconds_from_now(LONG))
            await at.scheduler.run(work(busy, [3, 4]), deadline=seconds_from_now(LONG))
        return lone.alone, busy.alone

    lone, busy = asyncio.run(trial())
    assert lone == [True, True]
    # When the first of two began, the other one waited.
    assert False in busy


Requests = list[tuple[int, float]]
"""The first token of each request, and the seconds until its deadline."""


async def behind_a_batch(requests: Requests, *, token_budget: int) -> list[list[int]]:
    """Return the batches of requests that came while the only thread was busy."""
    model = FirstTokens()
    model.go.clear()
    async with scheduling(threads=1, token_budget=token_budget) as at:

        def ask(first: int, seconds: float) -> asyncio.Task[list[Scores | FtiError]]:
            run = at.scheduler.run(work(model, [first]), deadline=seconds_from_now(seconds))
            return asyncio.create_task(run)

        busy = ask(0, LONG)
        await soon(lambda: not at.scheduler.waiting and not at.scheduler.idle)
        asked = [ask(*request) for request in requests]
        await soon(lambda: at.scheduler.waiting == len(requests))
        model.go.set()
        await asyncio.gather(busy, *asked)
    return model.batches[1:]


def test_what_waits_runs_together() -> None:
    """Rows of several requests that wait behind a batch share the next, within the budget."""
    requests = [(first, LONG) for first in (1, 2, 3, 4)]
    assert asyncio.run(behind_a_batch(requests, token_budget=12)) == [[1, 2, 3], [4]]


def test_the_most_urgent_goes_first() -> None:
    """A later request with less time overtakes those that can wait."""
    requests = [(1, 60.0), (2, 50.0), (3, 30.0), (4, 40.0)]
    assert asyncio.run(behind_a_batch(requests, token_budget=4)) == [[3], [4], [2], [1]]


@pytest.mark.parametrize("bad", [POISON, NOT_A_NUMBER], ids=["a failing pass", "not a number"])
def test_a_bad_row_fails_alone(bad: int) -> None:
    """Its neighbours in the batch are answered, and it is told from them."""

    async def trial() -> tuple[list[list[float] | str], bytes]:
        async with scheduling(threads=1) as at:
            firsts = work(FirstTokens(), [1, 2, bad, 3, 4])
            results = await at.scheduler.run(firsts, deadline=seconds_from_now(LONG))
            return plain(results), generate_latest(at.registry)

    results, metrics = asyncio.run(trial())
    assert results == [[1, 10], [2, 20], ModelFailureError.__name__, [3, 30], [4, 40]]
    assert b'fti_inference_failed_rows_total{model="tiny",version="1"} 1.0' in metrics


def test_a_deadline_ends_the_wait() -> None:
    """A request whose time is up is told so at once, and its waiting rows never run."""

    async def trial() -> FirstTokens:
        model = FirstTokens()
        model.go.clear()
        async with scheduling(threads=1, token_budget=4) as at:
            late = asyncio.create_task(
                at.scheduler.run(work(model, [1, 2]), deadline=seconds_from_now(0.05))
            )
            with pytest.raises(DeadlineExceededError, match=r"within 0\.0\d+ s"):
                await late
            assert at.scheduler.waiting == 0
            model.go.set()
        return model

    assert asyncio.run(trial()).batches in ([], [[1]])


def test_who_is_cancelled_leaves_the_queue() -> None:
    """Rows that did not start never run."""

    async def trial() -> FirstTokens:
        model = FirstTokens()
        model.go.clear()
        async with scheduling(threads=1, token_budget=4) as at:

            def ask(first: int) -> asyncio.Task[list[Scores | FtiError]]:
                run = at.scheduler.run(work(model, [first]), deadline=seconds_from_now(LONG))
                return asyncio.create_task(run)

            requests = [ask(1)]
            await soon(lambda: not at.scheduler.waiting and not at.scheduler.idle)
            requests += [ask(2), ask(3)]
            await soon(lambda: at.scheduler.waiting == 2)
            requests[1].cancel()
            await asyncio.wait([requests[1]])
            assert at.scheduler.waiting == 1
            model.go.set()
            await asyncio.gather(requests[0], requests[2])
        return model

    assert asyncio.run(trial()).batches == [[1], [3]]


def test_idle_work_gives_way() -> None:
    """While anything else waits or runs, rows for idle time stay; then they run."""

    async def trial() -> list[list[int]]:
        model = FirstTokens()
        model.go.clear()
        async with scheduling(threads=1, token_budget=4) as at:

            def ask(first: int, *, only_idle: bool) -> asyncio.Task[list[Scores | FtiError]]:
                return asyncio.create_task(
                    at.scheduler.run(
                        work(model, [first]), deadline=seconds_from_now(LONG), only_idle=only_idle
                    )
                )

            requests = [ask(1, only_idle=False)]
            await soon(lambda: not at.scheduler.waiting and not at.scheduler.idle)
            requests += [ask(2, only_idle=True), ask(3, only_idle=False), ask(4, only_idle=False)]
            await soon(lambda: at.scheduler.waiting == 2)
            model.go.set()
            await asyncio.gather(*requests)
        return model.batches

    assert asyncio.run(trial()) == [[1], [3], [4], [2]]


FATES = st.sampled_from(["answer", "cancel", "expire"])
REQUESTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([1, 2, 3, POISON, NOT_A_NUMBER]), min_size=1, max_size=4),
        st.integers(1, 30),
        FATES,
        st.floats(0, 0.004),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS, threads=st.integers(1, 3), budget=st.integers(1, 60))
def test_every_request_is_resolved_once(
    requests: list[tuple[list[int], int, str, float]], threads: int, budget: int
) -> None:
    """Whatever is cancelled, late or poisoned: each ends one way, and none stays behind."""

    async def one(at: Trial, request: tuple[list[int], int, str, float]) -> str:
        firsts, length, fate, moment = request
        deadline = seconds_from_now(moment if fate == "expire" else LONG)
        asked = work(model, firsts, length=length)
        run = asyncio.create_task(at.scheduler.run(asked, deadline=deadline))
        if fate == "cancel":
            await asyncio.sleep(moment)
            run.cancel()
        try:
            results = plain(await run)
        except asyncio.CancelledError:
            return "cancel"
        except DeadlineExceededError:
            return "expire"
        failed = ModelFailureError.__name__
        assert results == [
            failed if first in {POISON, NOT_A_NUMBER} else [first, 10 * first] for first in firsts
        ]
        return "answer"

    async def trial() -> list[str]:
        async with scheduling(threads=threads, token_budget=budget) as at:
            ends = await asyncio.gather(*(one(at, request) for request in requests))
            await soon(lambda: at.scheduler.idle)
            assert at.scheduler.waiting == 0
        return ends

    model = FirstTokens(seconds=0.0005)
    for end, (_, _, fate, _) in zip(asyncio.run(trial()), requests, strict=True):
        # Late and cancelled ones may have been quick enough.
        assert end in {fate, "answer"}


def test_closing_ends_the_threads() -> None:
    """After close no thread of the scheduler is left."""

    async def trial() -> None:
        async with scheduling(threads=3) as at:
            await at.scheduler.run(work(FirstTokens(), [1]), deadline=seconds_from_now(LONG))

    before = threading.active_count()
    asyncio.run(trial())
    assert threading.active_count() <= before
