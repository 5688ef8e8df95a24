"""The load generator, a process of its own: closed and open loops over keep-alive connections.

``python -m benchmarks.serving.generator ANSWER SPEC`` with a `LoadSpec` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.serving.connection import Connection, connect, http_request
from benchmarks.serving.load import Load, LoadSpec, value_at
from benchmarks.serving.materials import Question, read_questions

DRAIN_SECONDS = 5.0
"""After the last arrival of an open loop; what is unanswered then never was."""
_OK = 200
_REFUSED = 429


@dataclass
class _Outcome:
    row: int
    due: float
    end: float
    status: int
    body: bytes


class _Generator:
    def __init__(self, spec: LoadSpec, questions: list[Question]) -> None:
        self._spec = spec
        bodies = (
            json.dumps({name: getattr(question, name) for name in spec.fields}).encode()
            for question in questions
        )
        self._requests = [http_request(spec.path, body) for body in bodies]
        self.outcomes: list[_Outcome] = []

    async def closed(self, seconds: float) -> None:
        """Keep every connection busy."""
        end = time.perf_counter() + seconds
        rows = self._rows()

        async def worker() -> None:
            connection = await connect(self._spec.port)
            while (now := time.perf_counter()) < end:
                connection = await self._ask(connection, next(rows), now)
            connection.close()

        await asyncio.gather(*(worker() for _ in range(self._spec.connections)))

    async def open(self, seconds: float, rate: float) -> None:
        """Ask at random moments that do not depend on the answers."""
        arrivals = _arrivals(seconds, rate, self._spec.seed)
        due: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        rows = self._rows()
        waiting: dict[int, tuple[int, float]] = {}

        async def worker(place: int) -> None:
            connection = await connect(self._spec.port)
            try:
                while True:
                    waiting[place] = row, moment = await due.get()
                    connection = await self._ask(connection, row, moment)
                    del waiting[place]
                    due.task_done()
            finally:
                connection.close()

        workers = [asyncio.create_task(worker(place)) for place in range(self._spec.connections)]
        await asyncio.sleep(0)  # they connect
        begin = time.perf_counter()
        for arrival in arrivals:
            moment = begin + arrival
            if (pause := moment - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            due.put_nowait((next(rows), moment))
        try:
            await asyncio.wait_for(due.join(), DRAIN_SECONDS)
        except TimeoutError:
            now = time.perf_counter()
            left = [*waiting.values(), *(due.get_nowait() for _ in range(due.qsize()))]
            self.outcomes += [_Outcome(row, moment, now, 0, b"") for row, moment in left]
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, connection: Connection, row: int, due: float) -> Connection:
        try:
            if connection.closed:
                connection = await connect(self._spec.port)
            status, body = await connection.ask(self._requests[row])
        except OSError:
            status, body = 0, b""
        self.outcomes.append(_Outcome(row, due, time.perf_counter(), status, body))
        return connection

    def _rows(self) -> Iterator[int]:
        # As they stand, as the bare loops take them: lengths differ, and both shall meet the same.
        return cycle(range(len(self._requests)))


def run_load(spec: LoadSpec) -> Load:
    """Ask, and judge the answers when all is over."""
    questions = read_questions(Path(spec.questions))
    warm_up = _Generator(spec, questions)
    uvloop.run(warm_up.closed(spec.warm_up_seconds))
    generator = _Generator(spec, questions)
    before = _cpu_seconds()
    begin = time.perf_counter()
    if spec.rate is None:
        uvloop.run(generator.closed(spec.seconds))
    else:
        uvloop.run(generator.open(spec.seconds, spec.rate))
    elapsed = _elapsed(generator.outcomes, whole=time.perf_counter() - begin)
    cpu = (_cpu_seconds() - before) / elapsed
    return _judge(spec, questions, generator.outcomes, elapsed, cpu)


def _elapsed(outcomes: list[_Outcome], *, whole: float) -> float:
    """Return seconds to the last answer: the wait for those that never came is no work."""
    ends = [one.end for one in outcomes if one.status]
    return max(ends) - min(one.due for one in outcomes) if ends else whole


def _judge(
    spec: LoadSpec, questions: list[Question], outcomes: list[_Outcome], elapsed: float, cpu: float
) -> Load:
    answered = [one for one in outcomes if one.status == _OK]
    refused = sum(one.status == _REFUSED for one in outcomes)
    wrong = sum(
        value_at(one.body, spec.label_at) != questions[one.row].labels[spec.right]
        for one in answered
    )
    degraded = sum(
        spec.degraded_at is not None and value_at(one.body, spec.degraded_at) is True
        for one in answered
    )
    waited = [one.end - one.due for one in outcomes if one.status in (0, _OK)] or [float("nan")]
    p50, p95, p99 = (float(value) for value in np.percentile(waited, [50, 95, 99]) * 1000)
    return Load(
        asked=len(outcomes),
        answered=len(answered),
        refused=refused,
        failed=len(outcomes) - len(answered) - refused,
        wrong=wrong,
        degraded=degraded,
        elapsed_seconds=elapsed,
        per_second=len(answered) / elapsed,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        generator_cpu=cpu,
    )


def _arrivals(seconds: float, rate: float, seed: int) -> list[float]:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * seconds * rate) + 10)
    moments = np.cumsum(gaps)
    return [float(moment) for moment in moments[moments < seconds]]


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run a load and write what came of it as JSON."""
    answer, spec = map(Path, sys.argv[1:3])
    load = run_load(LoadSpec(**json.loads(spec.read_bytes())))
    answer.write_text(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
