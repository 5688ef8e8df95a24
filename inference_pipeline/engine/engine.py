"""The engine: from questions to predictions, whichever way the request came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ParamSpec, Protocol, TypeVar

from inference_pipeline.engine.admission import Admission, DeadlineExceededError, OverloadedError
from inference_pipeline.engine.answer import Answer, Ask, Question
from inference_pipeline.engine.assembly import assembled
from inference_pipeline.engine.mentions import Mentions, prepare, read_texts
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.engine.prediction_log import PredictionLog
from inference_pipeline.engine.scheduler import Scheduler
from inference_pipeline.engine.shadow import Shadow
from inference_pipeline.engine.timeline import Timeline
from inference_pipeline.engine.waiting import Work
from inference_pipeline.features.join import Join, Joined, utc_now, without_features
from inference_pipeline.versions.served import ServedVersion
from shared.text import fingerprint


class Lender(Protocol):
    """What the engine needs of the versions in service."""

    def lease(
        self, model: str | None, version: str | None, key: str
    ) -> AbstractContextManager[ServedVersion]:
        """Lend a version: it is not closed before the block is left.

        Raises:
            UnknownModelError: no such model is followed, or no such version serves.
            NoVersionError: the model has no version in service.
        """

    def shadow(self, model: str) -> ServedVersion | None:
        """Return the version that runs for comparison only."""


P = ParamSpec("P")
R = TypeVar("R")

_INLINE_CHARS = 4_000
"""Texts up to this length are prepared on the event loop: handing them to a thread takes longer."""

_SHADOW_TIMEOUT = timedelta(seconds=10)
_PLAIN = Ask()


@dataclass(frozen=True)
class Capacity:
    """How much is done at a time, and for how long."""

    threads: int
    """Batches that run at a time, each on one thread."""
    token_budget: int
    """Tokens of a batch, padding included."""
    timeout: timedelta
    """How long a request may take at most."""
    shadow_requests: int
    """Requests held for an idle moment."""


@dataclass(frozen=True)
class _Shadowed:
    """A request that was answered, to be answered by the shadow too."""

    questions: Sequence[Question]
    texts: Sequence[str]
    ask: Ask
    answer: Answer


class Engine:
    """Predicts mentions. The event loop, of which there is one, never waits for computation."""

    def __init__(
        self,
        versions: Lender,
        join: Join,
        *,
        capacity: Capacity,
        metrics: EngineMetrics,
        log: PredictionLog,
    ) -> None:
        self._versions = versions
        self._join = join
        self._timeout = capacity.timeout
        self._metrics = metrics
        self._log = log
        self._admission = Admission(threads=capacity.threads)
        self._scheduler = Scheduler(
            threads=capacity.threads,
            token_budget=capacity.token_budget,
            admission=self._admission,
            metrics=metrics,
        )
        self._shadow = Shadow(
            self._answer_in_shadow,
            idle=lambda: not self._admission.tokens_in_flight,
            capacity=capacity.shadow_requests,
            metrics=metrics,
        )
        self._preparing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")

    def check_capacity(self) -> None:
        """Return if a request that comes now, of whatever kind, could be answered in time.

        It is cheap: faces ask before they read a request.

        Raises:
            OverloadedError: none could.
        """
        try:
            self._admission.check_unread(self._timeout.total_seconds())
        except OverloadedError:
            self._shadow.drop_all()
            raise

    async def predict(self, questions: Sequence[Question], ask: Ask = _PLAIN) -> Answer:
        """Return one prediction for each question, in their order, or why one has none.

        A caller that is cancelled leaves the queue.

        Raises:
            UnknownModelError: there is no such model or version.
            NoVersionError: no version is in service.
            OverloadedError: it would not be answered in time; nothing was done.
            DeadlineExceededError: it was not answered in time.
        """
        asked_at = utc_now()
        with self._metrics.flight():
            texts, answer = await self._resolved(questions, ask)
        version = answer.version
        self._metrics.mentions.labels(version.name, version.version).inc(len(questions))
        self._log.offer(answer, questions, asked_at, ask.request_id)
        if self._versions.shadow(version.name) is not None:
            self._shadow.offer(_Shadowed(questions, texts, ask, answer))
            self._shadow.resume()
        return answer

    async def close(self) -> None:
        """End the threads, when the last predictions are done."""
        await self._shadow.close()
        await asyncio.to_thread(self._scheduler.close)
        self._preparing.shutdown(wait=True)

    async def _resolved(self, questions: Sequence[Question], ask: Ask) -> tuple[list[str], Answer]:
        """Return the texts as models read them, and the answer. How it ends is counted."""
        wanted = self._timeout if ask.timeout is None else ask.timeout
        allowed = min(wanted, self._timeout).total_seconds()
        deadline = time.monotonic() + allowed
        try:
            chars = sum(len(question.text) for question in questions)
            texts = await self._apart(chars, read_texts, questions)
            key = ask.key or fingerprint(texts[0])
            with self._versions.lease(ask.model, ask.version, key) as served:
                mentions = await self._apart(chars, prepare, served, questions, texts)
                self._admission.check(mentions.tokens, deadline - time.monotonic())
                return texts, await self._answer(served, mentions, deadline, timeline=ask.timeline)
        except OverloadedError:
            self._metrics.refused.labels("engine").inc()
            raise
        except DeadlineExceededError:
            self._metrics.expired.inc()
            raise
        except asyncio.CancelledError:
            self._metrics.cancelled.inc()
            raise
        finally:
            if not self._admission.tokens_in_flight:
                self._shadow.resume()

    async def _answer(
        self,
        served: ServedVersion,
        mentions: Mentions,
        deadline: float,
        *,
        only_idle: bool = False,
        timeline: Timeline | None = None,
    ) -> Answer:
        """Join features and run the model, in the time that is left."""
        if not mentions.rows:
            return assembled(served, mentions, without_features(served.service, 0), [])
        with nullcontext() if only_idle else self._admission.hold(mentions.tokens):
            if timeline is not None:
                timeline.served = served
                timeline.features_asked = time.monotonic()
            joined = await self._joined(served, mentions, deadline)
            if timeline is not None:
                timeline.features_came = time.monotonic()
                timeline.degraded = joined.degraded
            scores = await self._scheduler.run(
                Work(served.version, served.model, mentions.encodings, joined.features, timeline),
                deadline=deadline,
                only_idle=only_idle,
            )
        if joined.degraded and not only_idle:
            self._metrics.degraded.inc()
        return assembled(served, mentions, joined, scores)

    async def _joined(self, served: ServedVersion, mentions: Mentions, deadline: float) -> Joined:
        if served.mismatch is not None:
            return without_features(served.service, len(mentions.rows))
        # What the model itself needs is kept back: an answer without features is one, too.
        spare = deadline - time.monotonic() - self._admission.run_time(mentions.tokens)
        return await self._join.join(
            served.service, mentions.entities, within=timedelta(seconds=max(0.0, spare))
        )

    async def _answer_in_shadow(self, request: _Shadowed) -> None:
        name = request.answer.version.name
        shadow = self._versions.shadow(name)
        if shadow is None:
            return
        asked_at = utc_now()
        deadline = time.monotonic() + _SHADOW_TIMEOUT.total_seconds()
        with self._versions.lease(name, shadow.version.version, "") as served:
            mentions = prepare(served, request.questions, request.texts)
            answer = await self._answer(served, mentions, deadline, only_idle=True)
        answer = replace(answer, alias=shadow.alias)
        for mine, served_label in zip(answer.labels, request.answer.labels, strict=True):
            self._metrics.shadow_answers.labels(
                answer.version.name, answer.version.version, str(mine == served_label).lower()
            ).inc()
        self._log.offer(answer, request.questions, asked_at, request.ask.request_id)

    async def _apart(
        self, chars: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function here or, if its texts are long, where it holds up nobody else."""
        if chars <= _INLINE_CHARS:
            return function(*args, **kwargs)
        return await asyncio.wrap_future(self._preparing.submit(function, *args, **kwargs))
