"""The engine under load and in the shadow: what is refused, what is dropped, what always holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from inference_pipeline.engine.admission import DeadlineExceededError, OverloadedError
from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question
from inference_pipeline.engine.engine import Capacity, Engine
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.features.join import FeatureJoin
from inference_pipeline.features.metrics import FeatureMetrics
from inference_pipeline.features.reader import Floats, InMemoryFeatureReader
from inference_pipeline.versions.loading import load_model
from inference_pipeline.versions.model import Encoding, LoadedModel
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.served import ServedVersion
from shared.feature_store import FeatureService
from tests.inference.tiny_model import TinyModel

WORDS = ["bad", "late", "flight", "good", "great", "unknown"]


class SlowModel(LoadedModel):
    """A model whose batches take a while, however fast the machine is."""

    seconds = 0.01

    @classmethod
    def of(cls, model: LoadedModel) -> SlowModel:
        """Return a model slowed down."""
        slow = cls.__new__(cls)
        slow.__dict__.update(model.__dict__)
        return slow

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Wait, then answer."""
        time.sleep(self.seconds)
        return super().scores(encodings, features, alone=alone)


@dataclass
class Lent:
    """Versions that stay: the champion, and perhaps a shadow."""

    champion: ServedVersion
    other: ServedVersion | None = None

    @contextmanager
    def lease(self, _model: str | None, version: str | None, _key: str) -> Iterator[ServedVersion]:
        """Lend the version of a number, or the champion."""
        other = self.other
        yield other if other is not None and version == other.version.version else self.champion

    def shadow(self, _model: str) -> ServedVersion | None:
        """Return the shadow."""
        return self.other


@dataclass
class Notes:
    """A prediction log that is a list."""

    answers: list[Answer] = field(default_factory=list)

    def offer(
        self,
        answer: Answer,
        _questions: Sequence[Question],
        _asked_at: datetime,
        _request_id: str | None = None,
    ) -> None:
        """Take note."""
        self.answers.append(answer)


@dataclass
class Trial:
    """An engine with what it tells."""

    engine: Engine
    log: Notes
    registry: CollectorRegistry

    def count(self, line: str) -> float:
        """Return the value of a metric."""
        for found in generate_latest(self.registry).decode().splitlines():
            if found.startswith(f"{line} "):
                return float(found.removeprefix(f"{line} "))
        return 0.0


@pytest.fixture
def served(tmp_path: Path, feature_service: FeatureService) -> ServedVersion:
    """A version that answers at once."""
    model = load_model(TinyModel().write(tmp_path / "1", feature_service))
    return ServedVersion(
        ModelVersion("tiny", "1", created=1), "champion", model, feature_service, datetime.now(UTC)
    )


@asynccontextmanager
async def engine_on(
    lent: Lent, *, threads: int = 2, token_budget: int = 64, seconds: float = 10.0
) -> AsyncIterator[Trial]:
    """An engine that is closed in the end."""
    registry = CollectorRegistry()
    metrics = EngineMetrics(registry)
    reader = InMemoryFeatureReader(lent.champion.service)
    join = FeatureJoin(reader, timeout=timedelta(seconds=5), metrics=FeatureMetrics(registry))
    log = Notes()
    engine = Engine(
        lent,
        join,
        capacity=Capacity(
            threads=threads,
            token_budget=token_budget,
            timeout=timedelta(seconds=seconds),
            shadow_requests=4,
        ),
        metrics=metrics,
        log=log,
    )
    try:
        yield Trial(engine, log, registry)
    finally:
        await engine.close()
        join.close()


def question(text: str = "good") -> list[Question]:
    """A request of one mention."""
    return [Question("", text)]


def test_each_text_alone_is_labelled_as_in_any_batch(served: ServedVersion) -> None:
    """Neighbours and padding change no label, and no probability beyond the golden tolerance."""
    rng = np.random.default_rng(7)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 8))) for _ in range(60)]

    async def trial() -> tuple[list[Answer], Answer]:
        async with engine_on(Lent(served)) as at:
            alone = [await at.engine.predict(question(text)) for text in texts]
            return alone, await at.engine.predict([Question("", text) for text in texts])

    alone, together = asyncio.run(trial())
    tolerance = served.model.manifest.golden.tolerance
    for one, among in zip(alone, together.predictions, strict=True):
        (row,) = one.predictions
        assert isinstance(row, Prediction)
        assert isinstance(among, Prediction)
        assert row.label == among.label
        assert row.probabilities == pytest.approx(among.probabilities, abs=tolerance)


async def peak(engine: Engine, seconds: float) -> float:
    """Return the requests answered a second by eight clients that ask again and again."""
    end = time.monotonic() + seconds

    async def client() -> int:
        answered = 0
        while time.monotonic() < end:
            await engine.predict(question())
            answered += 1
        return answered

    return sum(await asyncio.gather(*(client() for _ in range(8)))) / seconds


async def flood(engine: Engine, *, rate: float, seconds: float) -> list[float | OverloadedError]:
    """Send requests at a rate, whatever comes back; return how long each took, or its refusal."""

    async def ask() -> float | OverloadedError:
        start = time.monotonic()
        try:
            engine.check_capacity()
            await engine.predict(question())
        except OverloadedError as error:
            return error
        return time.monotonic() - start

    start = time.monotonic()
    requests: list[asyncio.Task[float | OverloadedError]] = []
    while (passed := time.monotonic() - start) < seconds:
        requests += [asyncio.create_task(ask()) for _ in range(int(passed * rate) - len(requests))]
        await asyncio.sleep(0.002)
    return await asyncio.gather(*requests)


def test_five_times_the_capacity(served: ServedVersion) -> None:
    """The flood is refused, not queued: who is taken is answered in time, and work goes on.

    How near goodput stays to the peak is for the benchmark; here only a collapse fails.
    """
    slow = ServedVersion(
        served.version, "champion", SlowModel.of(served.model), served.service, served.loaded_at
    )
    allowed = 1.0

    async def trial() -> tuple[float, list[float | OverloadedError], float]:
        # A budget of one token: each row is a batch, so that capacity is threads / seconds.
        async with engine_on(Lent(slow), token_budget=1, seconds=allowed) as at:
            most = await peak(at.engine, seconds=1)
            start = time.monotonic()
            ends = await flood(at.engine, rate=5 * most, seconds=3)
            goodput = sum(isinstance(end, float) for end in ends) / (time.monotonic() - start)
            assert at.count("fti_inference_expired_requests_total") == 0
        return most, ends, goodput

    most, ends, goodput = asyncio.run(trial())
    refusals = [end for end in ends if isinstance(end, OverloadedError)]
    assert len(refusals) > len(ends) / 2
    assert all(refusal.retry_after > timedelta(0) for refusal in refusals)
    assert goodput >= 0.5 * most


def test_no_time_is_not_all_the_time(served: ServedVersion) -> None:
    """A client's timeout that rounds to nothing is at its end, and not the server's own."""

    async def trial() -> None:
        async with engine_on(Lent(served)) as at:
            with pytest.raises(DeadlineExceededError):
                await at.engine.predict(question(), Ask(timeout=timedelta(seconds=1e-9)))

    asyncio.run(trial())


def test_a_request_with_too_little_time_is_refused(served: ServedVersion) -> None:
    """A client's own timeout counts: behind a queue it is refused, alone it is told at its end."""
    slow = SlowModel.of(served.model)
    slow.seconds = 0.2
    lent = Lent(ServedVersion(served.version, "champion", slow, served.service, served.loaded_at))
    hasty = Ask(timeout=timedelta(milliseconds=50))

    async def trial() -> None:
        async with engine_on(lent, threads=1) as at:
            await at.engine.predict(question())
            with pytest.raises(DeadlineExceededError):
                await at.engine.predict(question(), hasty)
            busy = asyncio.create_task(at.engine.predict(question()))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await at.engine.predict(question(), hasty)
            await busy
            assert at.count("fti_inference_expired_requests_total") == 1
            assert at.count('fti_inference_refused_requests_total{at="engine"}') == 1

    asyncio.run(trial())


def test_the_shadow_answers_when_nothing_else_is_to_be_done(
    served: ServedVersion, tmp_path: Path
) -> None:
    """Its answers are logged under its alias, compared with those served, and served to nobody."""
    model = load_model(TinyModel(bias=100).write(tmp_path / "2", served.service))
    other = ServedVersion(
        ModelVersion("tiny", "2", created=2), "shadow", model, served.service, served.loaded_at
    )

    async def trial() -> None:
        async with engine_on(Lent(served, other)) as at:
            answer = await at.engine.predict(question("great"))
            assert answer.alias == "champion"
            await eventually(lambda: len(at.log.answers) == 2)
            assert [answer.alias for answer in at.log.answers] == ["champion", "shadow"]
            (row,) = at.log.answers[1].predictions
            assert isinstance(row, Prediction)
            assert row.label == "negative"
            compared = 'model="tiny",version="2"'
            line = f'fti_inference_shadow_answers_total{{agrees="false",{compared}}}'
            assert at.count(line) == 1

    asyncio.run(trial())


def test_the_shadow_is_dropped_first(served: ServedVersion) -> None:
    """While requests keep coming the shadow answers none: it holds a few, and counts the others."""
    slow = SlowModel.of(served.model)
    slow.seconds = 0.005
    other = ServedVersion(
        ModelVersion("tiny", "2", created=2), "shadow", slow, served.service, served.loaded_at
    )
    lent = Lent(
        ServedVersion(served.version, "champion", slow, served.service, served.loaded_at), other
    )

    async def trial() -> None:
        async with engine_on(lent, threads=1, token_budget=1) as at:
            await asyncio.gather(*(at.engine.predict(question()) for _ in range(20)))
            assert {answer.alias for answer in at.log.answers} == {"champion"}
            # All but the four that fit into its buffer; those are answered now.
            assert at.count("fti_inference_shadow_dropped_total") == 16
            await eventually(lambda: len(at.log.answers) == 24)

    asyncio.run(trial())


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
