"""Appending rows to the table of a feature view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Table
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.data_source import PushMode, PushSource
from feast.types import Float32, Int64

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.tests.conftest import SUBJECT, at

DeltaTable = Callable[..., FileSource]

ROWS: dict[str, list[Any]] = {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]}


@pytest.fixture
def view(store: FeatureStore, delta: DeltaTable) -> FeatureView:
    """A view whose table does not exist yet."""
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=delta("t"),
    )
    store.apply([SUBJECT, view])
    return store.get_feature_view("activity")


def append(store: FeatureStore, view: FeatureView, rows: dict[str, Any] | pa.Table) -> None:
    """Append rows as Feast does."""
    table = rows if isinstance(rows, pa.Table) else pl.DataFrame(rows).to_arrow()
    store.provider.ingest_df_to_offline_store(view, table)


def path_of(view: FeatureView) -> str:
    """Return where the view's table is."""
    assert isinstance(view.batch_source, FileSource)
    return view.batch_source.path


def stored(view: FeatureView) -> pl.DataFrame:
    """Return all rows of the view's table."""
    return pl.read_delta(path_of(view)).sort("event_timestamp")


def test_the_first_rows_make_the_table_and_others_are_added(
    store: FeatureStore, view: FeatureView
) -> None:
    """One commit each; a view may be applied before its table exists."""
    append(store, view, ROWS)
    append(store, view, {**ROWS, "n": [None], "event_timestamp": [at(1)]})
    assert stored(view)["n"].to_list() == [1, None]
    assert stored(view).schema["event_timestamp"] == pl.Datetime("us", "UTC")


def test_feast_can_write_a_pandas_dataframe(store: FeatureStore, view: FeatureView) -> None:
    """Integers that pandas made floats for their nulls, nanoseconds and naive times fit again."""
    append(store, view, ROWS)
    frame = pd.DataFrame(
        {
            "n": [2.0, None],
            "subject_id": ["b", "c"],
            "event_timestamp": pd.to_datetime(["2026-01-31 13:00", "2026-01-31 14:00"]),
        }
    )
    store.write_to_offline_store("activity", frame, allow_registry_cache=False)
    assert stored(view).rows() == [("a", at(0), 1), ("b", at(60), 2), ("c", at(120), None)]


def test_columns_in_another_order_find_their_place(store: FeatureStore, view: FeatureView) -> None:
    """By name, not by position."""
    append(store, view, ROWS)
    append(store, view, {"n": [2], "event_timestamp": [at(1)], "subject_id": ["b"]})
    assert stored(view)["n"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"subject_id": ["a"], "event_timestamp": [at(0)]}, "column 'n': expected that column in"),
        ({**ROWS, "m": [1]}, "column 'm': expected only columns of the table, found a new one"),
        ({**ROWS, "n": ["1"]}, "column 'n': expected values that fit the table's type Int64"),
        ({**ROWS, "n": [1.5]}, "column 'n': expected values that fit the table's type Int64"),
        ({**ROWS, "event_timestamp": [5]}, "column 'event_timestamp': expected values that fit"),
    ],
)
def test_rows_that_do_not_fit_are_refused_whole(
    store: FeatureStore, view: FeatureView, rows: dict[str, Any], message: str
) -> None:
    """The message names the table's column; nothing is committed."""
    append(store, view, ROWS)
    with pytest.raises(OfflineStoreError, match=f"/t, {message}"):
        append(store, view, rows)
    assert Table(path_of(view)).version() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"subject_id": ["a"], "n": [1], "when": [at(0)]}, "'event_timestamp': expected that"),
        ({**ROWS, "event_timestamp": ["2026"]}, "'event_timestamp': expected values that fit"),
        ({**ROWS, "n": [1.5]}, "'n': expected values that fit the table's type Int64"),
        ({**ROWS, "odd": [timedelta(1)]}, "expected a table that takes the rows"),
    ],
)
def test_the_first_rows_must_hold_what_the_view_declares(
    store: FeatureStore, view: FeatureView, rows: dict[str, Any], message: str
) -> None:
    """A table is not made from rows that the view could not be read from."""
    with pytest.raises(OfflineStoreError, match=message):
        append(store, view, rows)
    assert not Table.is_deltatable(path_of(view))


def test_the_first_rows_take_the_types_that_the_view_declares(
    store: FeatureStore, view: FeatureView
) -> None:
    """Integers that pandas made floats, and a feature that nobody knows yet."""
    append(store, view, {**ROWS, "n": [1.0]})
    assert stored(view).schema["n"] == pl.Int64
    Table(path_of(view)).delete()
    append(store, view, {**ROWS, "n": [None]})
    assert stored(view)["n"].to_list() == [None]


def test_a_narrower_float_is_taken_to_the_nearest_but_not_to_infinity(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """What a table of 32-bit floats can hold."""
    rows = pl.DataFrame({**ROWS, "n": [0.5]}, schema_overrides={"n": pl.Float32})
    view = FeatureView(
        name="floats",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Float32)],
        source=delta("f", rows),
    )
    store.apply([SUBJECT, view])
    append(store, view, {**ROWS, "n": [0.1]})
    with pytest.raises(OfflineStoreError, match="/f, column 'n': expected values that fit"):
        append(store, view, {**ROWS, "n": [1e300]})
    assert sorted(stored(view)["n"]) == pytest.approx([0.1, 0.5])


def test_only_delta_tables_can_be_appended_to(store: FeatureStore) -> None:
    """A Parquet file has no log to commit to."""
    view = FeatureView(
        name="flat",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=FileSource(path="t.parquet", timestamp_field="event_timestamp"),
    )
    with pytest.raises(OfflineStoreError, match="expected a source with DeltaFormat"):
        append(store, view, ROWS)


def test_events_can_be_pushed(store: FeatureStore, delta: DeltaTable) -> None:
    """Feast's push to the offline store adds rows, once the table is there."""
    pushed = PushSource(name="pushed", batch_source=delta("t", ROWS))
    view = FeatureView(
        name="activity", entities=[SUBJECT], schema=[Field(name="n", dtype=Int64)], source=pushed
    )
    store.apply([SUBJECT, view])
    event = pd.DataFrame({**ROWS, "event_timestamp": [at(1)], "n": [2]})
    store.push("pushed", event, to=PushMode.OFFLINE)
    assert stored(view)["n"].to_list() == [1, 2]
