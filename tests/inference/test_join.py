"""What the online join says of features that are there, old, absent or late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from inference_pipeline.features.breaker import Breaker
from inference_pipeline.features.join import FeatureJoin, Joined, ViewState
from inference_pipeline.features.metrics import FeatureMetrics
from inference_pipeline.features.reader import (
    Entity,
    FeatureReader,
    InMemoryFeatureReader,
    OnlineRows,
)
from shared.feature_store import FeatureService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN_ON_UNITED = {"subject_id": "united", "source_id": "ann"}


@contextmanager
def joining(
    reader: FeatureReader,
    *,
    now: datetime = NOON,
    timeout: timedelta = timedelta(seconds=5),
    breaker: Breaker | None = None,
) -> Iterator[tuple[FeatureJoin, CollectorRegistry]]:
    """A join at a given moment, and what it counts."""
    registry = CollectorRegistry()
    join = FeatureJoin(
        reader,
        timeout=timeout,
        metrics=FeatureMetrics(registry),
        clock=lambda: now,
        breaker=breaker,
    )
    try:
        yield join, registry
    finally:
        join.close()


def join_at(now: datetime, reader: FeatureReader, service: FeatureService) -> Joined:
    """Join one mention by ann about united at a moment."""
    with joining(reader, now=now) as (join, _):
        return asyncio.run(join.join(service, [ANN_ON_UNITED]))


@pytest.mark.parametrize(
    ("age", "state", "value"),
    [
        (timedelta(0), ViewState("present", 0.0), 3.0),
        (timedelta(hours=2), ViewState("present", 7200.0), 3.0),
        (timedelta(hours=2, seconds=1), ViewState("stale", 7201.0), np.nan),
        (timedelta(seconds=-5), ViewState("present", 0.0), 3.0),
    ],
    ids=["just written", "as old as the ttl", "older than the ttl", "by a clock that is ahead"],
)
def test_the_ttl_decides_what_is_stale(
    reader: InMemoryFeatureReader,
    feature_service: FeatureService,
    age: timedelta,
    state: ViewState,
    value: float,
) -> None:
    """A row older than its view's ttl is told as stale, and the model gets NaN."""
    reader.put("subject_activity", "united", NOON, {"mentions_24h": 3})
    joined = join_at(NOON + age, reader, feature_service)
    assert joined.views[0]["subject_activity"] == state
    np.testing.assert_array_equal(joined.features[0, 0], np.float32(value))
    assert not joined.degraded


def test_a_ttl_of_zero_keeps_for_ever(
    reader: InMemoryFeatureReader, feature_service: FeatureService
) -> None:
    """A view without a ttl is never stale."""
    reader.put("source_activity", "ann", NOON, {"mentions_24h": 1})
    joined = join_at(NOON + timedelta(days=900), reader, feature_service)
    assert joined.views[0]["source_activity"].status == "present"
    assert joined.features[0, 2] == 1


def test_an_unknown_entity_is_missing(
    reader: InMemoryFeatureReader, feature_service: FeatureService
) -> None:
    """No row is no age, NaN for the model, and no reason to call the answer degraded."""
    joined = join_at(NOON, reader, feature_service)
    assert set(joined.views[0].values()) == {ViewState("missing", None)}
    assert np.isnan(joined.features).all()
    assert not joined.degraded


class BrokenReader(InMemoryFeatureReader):
    """A store that is down."""

    def read(self, _service: FeatureService, _entities: Sequence[Entity]) -> OnlineRows:
        """Fail as a client does whose server is gone."""
        raise ConnectionError("the store is down")


def test_a_store_that_fails_degrades(feature_service: FeatureService) -> None:
    """Every view is unavailable, every feature is NaN, and the failure is counted."""
    with joining(BrokenReader(feature_service)) as (join, registry):
        joined = asyncio.run(join.join(feature_service, [ANN_ON_UNITED] * 2))
    assert joined.degraded
    assert [set(views.values()) for views in joined.views] == [{ViewState("unavailable", None)}] * 2
    assert joined.features.shape == (2, 4)
    assert np.isnan(joined.features).all()
    assert b'feature_read_failures_total{kind="error"} 1.0' in generate_latest(registry)


def test_a_model_without_features_needs_no_store(feature_service: FeatureService) -> None:
    """A store that is down is no matter to a model that reads the text only."""
    text_only = replace(feature_service, features=(), ttl={}, join_keys={})
    with joining(BrokenReader(text_only)) as (join, _):
        joined = asyncio.run(join.join(text_only, [{}, {}]))
    assert not joined.degraded
    assert joined.features.shape == (2, 0)
    assert joined.views == [{}, {}]


class HangingReader(InMemoryFeatureReader):
    """A store that does not answer until it is released; it remembers who was read together."""

    def __init__(self, service: FeatureService) -> None:
        super().__init__(service)
        self.release = threading.Event()
        self.reads: list[int] = []

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Wait, then answer."""
        self.reads.append(len(entities))
        self.release.wait()
        return super().read(service, entities)


def test_who_comes_during_a_read_shares_the_next(feature_service: FeatureService) -> None:
    """Three requests behind a read become one read, and each gets its own rows."""
    hanging = HangingReader(feature_service)
    for number, name in enumerate(("a", "b", "c", "d")):
        hanging.put("subject_activity", name, NOON, {"mentions_24h": number})
    asked = [["a"], ["b", "c"], ["d"], ["c", "a", "nobody"]]

    async def all_at_once(join: FeatureJoin) -> list[Joined]:
        def ask(names: list[str]) -> asyncio.Task[Joined]:
            entities = [{"subject_id": name, "source_id": "x"} for name in names]
            return asyncio.create_task(join.join(feature_service, entities))

        reads = [ask(asked[0])]
        while not hanging.reads:
            await asyncio.sleep(0.001)
        reads += [ask(names) for names in asked[1:]]
        # The tasks have begun when this one goes on.
        await asyncio.sleep(0)
        hanging.release.set()
        return await asyncio.gather(*reads)

    with joining(hanging) as (join, _):
        answers = asyncio.run(all_at_once(join))
    assert hanging.reads == [1, 6]
    found = [answer.features[:, 0].tolist() for answer in answers]
    assert found[:3] == [[0], [1, 2], [3]]
    np.testing.assert_array_equal(found[3], [2, 0, np.nan])
    assert answers[3].views[2]["subject_activity"].status == "missing"


def test_a_store_that_hangs_costs_the_timeout_once(feature_service: FeatureService) -> None:
    """Who waits is answered without features, who comes then at once; later it is used again."""
    hanging = HangingReader(feature_service)
    with joining(hanging, timeout=timedelta(milliseconds=50)) as (join, registry):

        async def trial() -> tuple[list[Joined], Joined, Joined]:
            reads = (join.join(feature_service, [ANN_ON_UNITED]) for _ in range(5))
            waited = await asyncio.gather(*reads)
            at_once = await join.join(feature_service, [ANN_ON_UNITED])
            hanging.release.set()
            while (answer := await join.join(feature_service, [ANN_ON_UNITED])).degraded:
                await asyncio.sleep(0.001)
            return waited, at_once, answer

        waited, at_once, answer = asyncio.run(trial())
        assert all(answer.degraded for answer in (*waited, at_once))
        assert not answer.degraded
        metrics = generate_latest(registry)
        assert b'feature_read_failures_total{kind="timeout"} 1.0' in metrics
    # The one that hung, for all who asked at once, and the one after the release.
    assert hanging.reads == [5, 1]


def test_a_request_waits_no_longer_than_it_can(feature_service: FeatureService) -> None:
    """A request with little time left gives up early; the read goes on for the others."""
    hanging = HangingReader(feature_service)
    with joining(hanging) as (join, registry):

        async def trial() -> tuple[Joined, Joined]:
            patient = asyncio.create_task(join.join(feature_service, [ANN_ON_UNITED]))
            hasty = await join.join(
                feature_service, [ANN_ON_UNITED], within=timedelta(milliseconds=10)
            )
            hanging.release.set()
            return await patient, hasty

        patient, hasty = asyncio.run(trial())
        assert (patient.degraded, hasty.degraded) == (False, True)
        assert b"feature_read_failures_total{" not in generate_latest(registry)


class ReadyReader(InMemoryFeatureReader):
    """A store that need not be waited for."""

    def __init__(self, service: FeatureService, *, seconds: float = 0.0) -> None:
        super().__init__(service)
        self.reads: list[int] = []
        self._seconds = seconds

    def read(self, _service: FeatureService, _entities: Sequence[Entity]) -> OnlineRows:
        """Fail: nobody should wait."""
        raise AssertionError

    def read_now(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Answer, after as long as it takes."""
        self.reads.append(len(entities))
        time.sleep(self._seconds)
        return super().read(service, entities)


def test_a_store_that_is_ready_is_read_at_once(feature_service: FeatureService) -> None:
    """No thread is asked, and those who ask together share one read."""
    ready = ReadyReader(feature_service)
    ready.put("subject_activity", "united", NOON, {"mentions_24h": 3})

    async def together(join: FeatureJoin) -> list[Joined]:
        return await asyncio.gather(
            *(join.join(feature_service, [ANN_ON_UNITED] * count) for count in (1, 2))
        )

    with joining(ready) as (join, _):
        answers = asyncio.run(together(join))
    assert ready.reads == [3]
    assert [answer.features[:, 0].tolist() for answer in answers] == [[3], [3, 3]]


def test_a_store_that_holds_everybody_up_is_left_alone(feature_service: FeatureService) -> None:
    """A store that is not as ready as it says counts as one that failed."""
    slow = ReadyReader(feature_service, seconds=0.01)
    breaker = Breaker(failures=2, open_for=timedelta(seconds=5), clock=lambda: 0.0)

    async def ask(join: FeatureJoin) -> list[bool]:
        return [(await join.join(feature_service, [ANN_ON_UNITED])).degraded for _ in range(4)]

    with joining(slow, breaker=breaker, timeout=timedelta(milliseconds=5)) as (join, registry):
        assert asyncio.run(ask(join)) == [True] * 4
        assert b'feature_read_failures_total{kind="timeout"} 2.0' in generate_latest(registry)
    assert slow.reads == [1, 1]


class FlakyReader(InMemoryFeatureReader):
    """A store that is down until somebody starts it."""

    up = False
    reads = 0

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Answer if it is up."""
        self.reads += 1
        if not self.up:
            raise ConnectionError("the store is down")
        return super().read(service, entities)


def test_a_store_that_keeps_failing_is_left_alone(feature_service: FeatureService) -> None:
    """After some failures nobody waits for it; after a while one read tries whether it is back."""
    flaky = FlakyReader(feature_service)
    now = 0.0
    breaker = Breaker(failures=3, open_for=timedelta(seconds=5), clock=lambda: now)

    async def ask(times: int) -> list[bool]:
        return [(await join.join(feature_service, [ANN_ON_UNITED])).degraded for _ in range(times)]

    with joining(flaky, breaker=breaker) as (join, registry):
        assert all(asyncio.run(ask(10)))
        assert flaky.reads == 3
        assert b"feature_reads_skipped_total 7.0" in generate_latest(registry)
        flaky.up = True
        now = 4.9
        assert asyncio.run(ask(2)) == [True, True]
        now = 5.0
        assert asyncio.run(ask(2)) == [False, False]
