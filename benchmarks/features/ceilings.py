"""What the parts below the stream carry by themselves, on the same machine."""

from __future__ import annotations

import time
from collections.abc import Iterable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, run_main
from redis import Redis

_BATCH = 1_000
_FIELDS = 24
"""Those of an activity row of three windows and three labels, with its time."""


class _Count(StatefulBatchLogic[int, int, int]):
    def __init__(self) -> None:
        self._count = 0

    def on_batch(self, values: list[int]) -> tuple[Iterable[int], bool]:
        self._count += len(values)
        return [self._count], StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        return self._count


def bytewax_rate(count: int) -> float:
    """Return the items a second of a dataflow that only counts them, in ``stateful_batch``."""
    flow = Dataflow("bare")
    items = [(str(number % 2), number) for number in range(count)]
    source = op.input("in", flow, TestingSource(items, batch_size=_BATCH))
    counted = op.stateful_batch("count", source, lambda _: _Count())
    op.output("out", counted, TestingSink([]))
    begin = time.perf_counter()
    run_main(flow)
    return count / (time.perf_counter() - begin)


def redis_rate(address: str, count: int) -> float:
    """Return the rows a second of bare HSET pipelines, each row of another key."""
    row = {f"feature {number}": b"12345678" for number in range(_FIELDS)}
    client: Redis = Redis.from_url(address)
    begin = time.perf_counter()
    for start in range(0, count, _BATCH):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(count, start + _BATCH)):
            pipeline.hset(f"bare {number}", mapping=row)
        pipeline.execute()
    seconds = time.perf_counter() - begin
    client.close()
    return count / seconds
