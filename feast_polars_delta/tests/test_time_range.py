"""Reading a range of a table: all of its rows, or the last one of each key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore, FileSource
from feast.feature_view import DUMMY_ENTITY_ID

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.tests.conftest import at

DeltaTable = Callable[..., FileSource]

ROWS = {
    "subject_id": ["a", "b", "a", "a"],
    "event_timestamp": [at(10), at(0), at(0), at(20)],
    "made": [at(10), at(0), at(0), at(20)],
    "n": [2, 9, 1, None],
    "unread": ["x"] * 4,
}


def pull(
    store: FeatureStore,
    source: FileSource,
    kind: str,
    *,
    keys: tuple[str, ...] = ("subject_id",),
    created: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """Return the rows that Feast's call for all rows or for the latest rows gives."""
    method = getattr(store.provider.offline_store, f"pull_{kind}_from_table_or_query")
    frame: pl.DataFrame = method(
        config=store.config,
        data_source=source,
        join_key_columns=list(keys),
        feature_name_columns=["n"],
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
        start_date=start,
        end_date=end,
    ).to_polars()
    return frame


def test_the_latest_row_of_each_key_is_pulled(store: FeatureStore, delta: DeltaTable) -> None:
    """With its nulls, and only with the columns asked for."""
    frame = pull(store, delta("t", ROWS), "latest")
    assert frame.sort("subject_id").to_dict(as_series=False) == {
        "subject_id": ["a", "b"],
        "n": [None, 9],
        "event_timestamp": [at(20), at(0)],
    }


@pytest.mark.parametrize(
    ("ends", "latest", "everything"),
    [
        ((None, None), [None, 9], [2, 9, 1, None]),
        ((at(0), at(10)), [2, 9], [2, 9, 1]),
        ((at(1), None), [None], [2, None]),
        ((None, at(9).replace(tzinfo=None)), [1, 9], [9, 1]),
        ((at(11), at(19)), [], []),
    ],
)
def test_both_ends_of_the_range_are_included_and_none_is_no_end(
    store: FeatureStore,
    delta: DeltaTable,
    ends: tuple[datetime | None, datetime | None],
    latest: list[Any],
    everything: list[Any],
) -> None:
    """Naive ends are UTC."""
    start, end = ends
    source = delta("t", ROWS)
    last = pull(store, source, "latest", start=start, end=end).sort("subject_id")
    assert last["n"].to_list() == latest
    assert pull(store, source, "all", start=start, end=end)["n"].to_list() == everything


@pytest.mark.parametrize("order", [1, -1])
def test_of_rows_with_one_time_the_last_created_is_the_latest(
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
    frame = pull(store, delta("t", rows[::order]), "latest", created="made")
    assert frame["n"].to_list() == [3]
    assert frame["made"].to_list() == [at(3)]


def test_a_table_without_keys_has_one_latest_row(store: FeatureStore, delta: DeltaTable) -> None:
    """Under the dummy key that Feast serves it by."""
    frame = pull(store, delta("t", ROWS), "latest", keys=(), end=at(10))
    assert frame["n"].to_list() == [2]
    assert frame[DUMMY_ENTITY_ID].to_list() == [""]


def test_a_missing_column_is_named(store: FeatureStore, delta: DeltaTable) -> None:
    """When the job is made, not when it runs."""
    with pytest.raises(OfflineStoreError, match=r"/t, column 'source_id': expected a column"):
        pull(store, delta("t", ROWS), "all", keys=("source_id",))
