"""Retrieval without an entity dataframe: the keys and times at which something changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64

from feast_polars_delta import OfflineStoreError, PolarsDeltaRetrievalJob
from feast_polars_delta.tests.conftest import SOURCE, SUBJECT, at

WriteDelta = Callable[..., FileSource]


def view(name: str, source: FileSource, *entities: Entity, **options: Any) -> FeatureView:
    """Return a view of one integer feature."""
    return FeatureView(
        name=name,
        entities=list(entities),
        schema=[Field(name=name, dtype=Int64)],
        source=source,
        **options,
    )


def changes(store: FeatureStore, *features: str, **time_range: Any) -> pl.DataFrame:
    """Return what Feast gives for a time range."""
    job = store.get_historical_features(features=list(features), **time_range)
    assert isinstance(job, PolarsDeltaRetrievalJob)
    return job.to_polars()


@pytest.fixture
def mentions(store: FeatureStore, delta: WriteDelta) -> FileSource:
    """A view ``mentions`` of two subjects, with a row twice and one without a key."""
    source = delta(
        "mentions",
        {
            "subject_id": ["b", "a", "a", "a", None],
            "event_timestamp": [at(10), at(0), at(10), at(10), at(10)],
            "mentions": [7, 1, 2, 2, 9],
        },
    )
    store.apply([SUBJECT, view("mentions", source, SUBJECT)])
    return source


@pytest.mark.usefixtures("mentions")
def test_each_key_and_time_comes_once_in_order(store: FeatureStore) -> None:
    """Both ends of the range are included; a row without a key belongs to nobody."""
    frame = changes(store, "mentions:mentions", start_date=at(0), end_date=at(10))
    assert frame.rows() == [("a", at(0), 1), ("a", at(10), 2), ("b", at(10), 7)]
    frame = changes(store, "mentions:mentions", start_date=at(1), end_date=at(9))
    assert (frame.columns, frame.height) == (["subject_id", "event_timestamp", "mentions"], 0)


@pytest.mark.usefixtures("mentions")
def test_every_view_is_read_as_of_each_change_of_any(
    store: FeatureStore, delta: WriteDelta
) -> None:
    """What a view said before the range began is still what it says, within its ttl."""
    labels = delta(
        "labels",
        {"subject_id": ["a", "b"], "event_timestamp": [at(-5), at(20)], "labels": [4, 5]},
    )
    store.apply([view("labels", labels, SUBJECT, ttl=timedelta(minutes=10))])
    frame = changes(store, "mentions:mentions", "labels:labels", start_date=at(0), end_date=at(20))
    assert frame.rows() == [
        ("a", at(0), 1, 4),
        ("a", at(10), 2, None),
        ("b", at(10), 7, None),
        ("b", at(20), 7, 5),
    ]


def test_without_a_start_the_longest_ttl_is_looked_back(
    store: FeatureStore, delta: WriteDelta
) -> None:
    """As Feast has it for all its stores."""
    rows = {"subject_id": ["a"] * 2, "event_timestamp": [at(0), at(31)], "n": [1, 2]}
    store.apply([SUBJECT, view("n", delta("n", rows), SUBJECT, ttl=timedelta(minutes=30))])
    assert changes(store, "n:n", end_date=at(31))["n"].to_list() == [2]
    assert changes(store, "n:n", end_date=at(30))["n"].to_list() == [1]


def test_a_view_without_keys_changes_at_its_times(store: FeatureStore, delta: WriteDelta) -> None:
    """Beside views with keys it only follows."""
    rows = {"event_timestamp": [at(0), at(5)], "n": [1, 2]}
    store.apply([view("n", delta("n", rows))])
    frame = changes(store, "n:n", start_date=at(0), end_date=at(9))
    assert frame.rows() == [(at(0), 1), (at(5), 2)]


@pytest.mark.usefixtures("mentions")
def test_views_of_different_keys_have_no_rows_in_common(
    store: FeatureStore, delta: WriteDelta
) -> None:
    """Which subject would go with which source, nothing tells."""
    rows = {"source_id": [1], "event_timestamp": [at(0)], "n": [1]}
    store.apply([SOURCE, view("n", delta("n", rows), SOURCE)])
    with pytest.raises(OfflineStoreError, match="expected the join keys of the other views"):
        changes(store, "mentions:mentions", "n:n", start_date=at(0), end_date=at(9))


@pytest.mark.usefixtures("mentions")
def test_keys_of_one_name_must_be_of_one_type(store: FeatureStore, delta: WriteDelta) -> None:
    """A number never equals a text."""
    rows = {"subject_id": [1], "event_timestamp": [at(0)], "n": [1]}
    store.apply([view("n", delta("n", rows), SUBJECT)])
    with pytest.raises(OfflineStoreError, match="/n, column 'subject_id': expected entity column"):
        changes(store, "mentions:mentions", "n:n", start_date=at(0), end_date=at(9))
