"""What the online join says of features that are there, old, absent or late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inference_pipeline.features import Entity, FeatureReader, InMemoryFeatureReader, OnlineRows
from inference_pipeline.join import FeatureJoin, Joined, ViewState
from inference_pipeline.metrics import Metrics
from shared.feature_store import FeatureService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN_ON_UNITED = {"subject_id": "united", "source_id": "ann"}


@contextmanager
def joining(
    reader: FeatureReader, *, now: datetime = NOON, timeout: timedelta = timedelta(seconds=5)
) -> Iterator[tuple[FeatureJoin, Metrics]]:
    """A join at a given moment."""
    metrics = Metrics()
    join = FeatureJoin(reader, timeout=timeout, metrics=metrics, clock=lambda: now)
    try:
        yield join, metrics
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
    with joining(BrokenReader(feature_service)) as (join, metrics):
        joined = asyncio.run(join.join(feature_service, [ANN_ON_UNITED] * 2))
    assert joined.degraded
    assert [set(views.values()) for views in joined.views] == [{ViewState("unavailable", None)}] * 2
    assert joined.features.shape == (2, 4)
    assert np.isnan(joined.features).all()
    assert b'feature_read_failures_total{kind="error"} 1.0' in metrics.render()


def test_a_model_without_features_needs_no_store(feature_service: FeatureService) -> None:
    """A store that is down is no matter to a model that reads the text only."""
    text_only = replace(feature_service, features=(), ttl={}, join_keys={})
    with joining(BrokenReader(text_only)) as (join, _):
        joined = asyncio.run(join.join(text_only, [{}, {}]))
    assert not joined.degraded
    assert joined.features.shape == (2, 0)
    assert joined.views == [{}, {}]


class HangingReader(InMemoryFeatureReader):
    """A store that does not answer until it is released."""

    def __init__(self, service: FeatureService) -> None:
        super().__init__(service)
        self.release = threading.Event()
        self.reads = 0

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Wait, then answer."""
        self.reads += 1
        self.release.wait()
        return super().read(service, entities)


def test_a_store_that_hangs_costs_the_timeout_only(feature_service: FeatureService) -> None:
    """Answers come without features, waiting reads are dropped, and the store is used again."""
    hanging = HangingReader(feature_service)
    with joining(hanging, timeout=timedelta(milliseconds=50)) as (join, metrics):

        async def five_at_a_time() -> list[Joined]:
            reads = (join.join(feature_service, [ANN_ON_UNITED]) for _ in range(5))
            return await asyncio.gather(*reads)

        answers = asyncio.run(five_at_a_time())
        assert all(answer.degraded for answer in answers)
        assert b'feature_read_failures_total{kind="timeout"} 5.0' in metrics.render()
        hanging.release.set()
        asyncio.run(join.join(feature_service, [ANN_ON_UNITED]))
    # The one that hung and the one after the release: the four that waited never ran.
    assert hanging.reads == 2
