"""What the time at which a feature row was created decides: ties, and on request what was known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64

from feast_polars_delta.tests.conftest import SUBJECT, at, history

DeltaTable = Callable[..., FileSource]


def ask(
    store: FeatureStore,
    source: FileSource,
    times: list[datetime],
    *,
    ttl: timedelta | None = None,
    **options: Any,
) -> list[Any]:
    """Return the feature of subject a at these times."""
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        ttl=ttl,
        schema=[Field(name="n", dtype=Int64)],
        source=source,
    )
    store.apply([SUBJECT, view])
    entity_rows = {"subject_id": ["a"] * len(times), "event_timestamp": times}
    values: list[Any] = (
        history(store, entity_rows, ["activity:n"], **options).to_polars()["n"].to_list()
    )
    return values


@pytest.mark.parametrize("order", [1, -1])
def test_of_rows_with_one_time_the_last_created_counts(
    store: FeatureStore, delta: DeltaTable, order: int
) -> None:
    """However they are stored; a row without a created timestamp counts least."""
    rows = pl.DataFrame(
        {
            "subject_id": ["a"] * 4,
            "event_timestamp": [at(0)] * 4,
            "made": [None, at(1), at(3), at(2)],
            "n": [9, 1, 3, 2],
        }
    )
    table = delta("t", rows[::order], created_timestamp_column="made")
    assert ask(store, table, [at(9)]) == [3]


def test_a_later_event_counts_even_if_it_was_created_earlier(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """The created timestamp settles ties only."""
    table = delta(
        "t",
        {
            "subject_id": ["a", "a"],
            "event_timestamp": [at(0), at(1)],
            "made": [at(8), at(2)],
            "n": [1, 2],
        },
        created_timestamp_column="made",
    )
    assert ask(store, table, [at(9)]) == [2]


@pytest.fixture
def backfilled(delta: DeltaTable) -> FileSource:
    """Rows of which some were created long after they happened, and one nobody knows when.

    ::

        minute    0    10   20   30   40
        row 1     happened and created
        row 2     .    happened ..... created
        row 3     .    .    happened and created
        row 4     .    .    .    happened, never created
    """
    return delta(
        "t",
        {
            "subject_id": ["a"] * 4,
            "event_timestamp": [at(0), at(10), at(20), at(30)],
            "made": [at(0), at(40), at(20), None],
            "n": [1, 2, 3, 4],
        },
        created_timestamp_column="made",
    )


def test_on_request_a_row_counts_only_once_it_was_created(
    store: FeatureStore, backfilled: FileSource
) -> None:
    """A row that became known after a later one never counts; without the request all do."""
    times = [at(-1), at(0), at(15), at(20), at(35), at(40), at(99)]
    known = ask(store, backfilled, times, filter_by_created_timestamp=True)
    assert known == [None, 1, 1, 3, 3, 3, 3]
    assert ask(store, backfilled, times) == [None, 1, 2, 3, 4, 4, 4]


def test_the_age_of_a_row_is_told_from_when_it_happened(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """A row created when its ttl was over never counts, nor does an older one in its stead."""
    table = delta(
        "t",
        {
            "subject_id": ["a"] * 2,
            "event_timestamp": [at(0), at(10)],
            "made": [at(0), at(30)],
            "n": [1, 2],
        },
        created_timestamp_column="made",
    )
    times = [at(5), at(6), at(30), at(31)]
    ttl = timedelta(minutes=5)
    assert ask(store, table, times, ttl=ttl, filter_by_created_timestamp=True) == [1] + [None] * 3
    ttl = timedelta(minutes=20)
    assert ask(store, table, times, ttl=ttl, filter_by_created_timestamp=True) == [1, 1, 2, None]


def test_views_without_a_created_timestamp_are_as_ever(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """There is nothing to filter by."""
    table = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]})
    assert ask(store, table, [at(1)], filter_by_created_timestamp=True) == [1]
