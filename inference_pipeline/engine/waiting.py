"""The rows that wait for a thread, in order of deadline. Without a lock: its owner has one."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inference_pipeline.engine.packing import next_batch
from inference_pipeline.engine.timeline import Timeline
from inference_pipeline.features.reader import Floats
from inference_pipeline.versions.model import Encoding
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError


class Model(Protocol):
    """What runs rows. It is called from several threads at a time."""

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Return the logits of B rows, float32 [B, labels].

        Args:
            encodings: B texts.
            features: float32 [B, features].
            alone: nothing else runs: the pass may take all cores.
        """


@dataclass(frozen=True)
class Work:
    """Rows that one request asks of one model."""

    version: ModelVersion
    model: Model
    encodings: Sequence[Encoding]
    """B rows, one or more."""
    features: Floats
    """float32 [B, features]."""
    timeline: Timeline | None = None
    """Where to note the batches; None: nowhere."""


Scores = Floats
"""The logits of one row, float32 [labels]."""


@dataclass(eq=False, slots=True)
class Request:
    """A request on the event loop."""

    work: Work
    only_idle: bool
    """Runs only while nothing else waits or runs."""
    deadline: float
    entered: float
    results: list[Scores | FtiError | None]
    left: int
    done: asyncio.Future[list[Scores | FtiError]]


@dataclass(slots=True, order=True)
class Row:
    """A row that waits. Rows are in order of deadline, then of arrival."""

    deadline: float
    arrival: int
    tokens: int = field(compare=False)
    model: Model = field(compare=False)
    request: Request = field(compare=False)
    index: int = field(compare=False)


class WaitingRows:
    """Two queues: of rows to be run as soon as there is a thread, and of rows for idle time."""

    def __init__(self, token_budget: int) -> None:
        """Start empty.

        Args:
            token_budget: tokens of a batch, padding included.
        """
        self._token_budget = token_budget
        self._urgent: list[Row] = []
        self._for_idle_time: list[Row] = []
        self._arrivals = 0

    @property
    def urgent(self) -> int:
        """How many rows wait, those for idle time left out."""
        return len(self._urgent)

    @property
    def for_idle_time(self) -> int:
        """How many rows wait for idle time."""
        return len(self._for_idle_time)

    def enter(self, request: Request) -> None:
        """Let all rows of a request wait."""
        queue = self._for_idle_time if request.only_idle else self._urgent
        for index, encoding in enumerate(request.work.encodings):
            self._arrivals += 1
            tokens = max(1, len(encoding))
            model = request.work.model
            insort(queue, Row(request.deadline, self._arrivals, tokens, model, request, index))

    def withdraw(self, request: Request) -> None:
        """Let no row of a request wait any more."""
        for queue in (self._urgent, self._for_idle_time):
            queue[:] = [row for row in queue if row.request is not request]

    def next_batch(self, *, free: int, running: int) -> list[Row]:
        """Return the rows to run next, which wait no more; none if there are none to run now.

        Args:
            free: threads that have nothing to run, one or more.
            running: batches that run. Rows for idle time wait for their end.
        """
        for each in (self._urgent, self._for_idle_time):
            _drop_expired(each)
        queue = self._urgent
        if not queue and not running:
            queue = self._for_idle_time
        chosen = next_batch(queue, token_budget=min(self._token_budget, _share(queue, free)))
        batch = [queue[position] for position in chosen]
        for position in reversed(chosen):
            del queue[position]
        return batch


def _drop_expired(queue: list[Row]) -> None:
    """Let rows wait no more whose time is up: their timers tell those who asked."""
    now = time.monotonic()
    del queue[: next((at for at, row in enumerate(queue) if row.deadline > now), len(queue))]


def _share(queue: Sequence[Row], free: int) -> int:
    """Return the tokens that one of the free threads takes, so that none looks on."""
    return -(-sum(row.tokens for row in queue) // free)
