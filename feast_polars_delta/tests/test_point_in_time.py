"""Which feature row an entity row gets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.tests.conftest import NOON, SOURCE, SUBJECT, at, history

DeltaTable = Callable[..., FileSource]


def ask(
    store: FeatureStore,
    source: FileSource,
    entity_rows: dict[str, Any],
    *,
    ttl: timedelta | None = None,
    feature: str = "n",
) -> list[Any]:
    """Return one feature of a view over the source, for each entity row."""
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        ttl=ttl,
        schema=[Field(name=feature, dtype=Int64)],
        source=source,
    )
    store.apply([SUBJECT, view])
    frame = history(store, entity_rows, [f"activity:{feature}"]).to_polars()
    assert frame.height == len(entity_rows["event_timestamp"])
    values: list[Any] = frame[feature].to_list()
    return values


def test_the_newest_row_at_or_before_the_entity_row_counts(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """A row of the same moment counts, one a microsecond later does not."""
    table = delta(
        "t",
        {
            "subject_id": ["a", "a", "a"],
            "event_timestamp": [at(0), at(10), at(20)],
            "n": [1, 2, 3],
        },
    )
    times = [at(10) - timedelta(microseconds=1), at(10), at(15), at(99)]
    assert ask(store, table, {"subject_id": ["a"] * 4, "event_timestamp": times}) == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (timedelta(minutes=10), [1, None]),
        (timedelta(0), [1, 1]),
        (None, [1, 1]),
    ],
)
def test_ttl_includes_its_end_and_zero_means_any_age(
    store: FeatureStore, delta: DeltaTable, ttl: timedelta | None, expected: list[int | None]
) -> None:
    """A row exactly ttl old counts, one a microsecond older does not; without ttl both do."""
    table = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]})
    times = [at(10), at(10) + timedelta(microseconds=1)]
    entity_rows = {"subject_id": ["a", "a"], "event_timestamp": times}
    assert ask(store, table, entity_rows, ttl=ttl) == expected


def test_a_row_too_old_does_not_give_way_to_an_older_one(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """Ttl is measured at the newest row; a null value in it is an answer."""
    table = delta(
        "t",
        {"subject_id": ["a", "a"], "event_timestamp": [at(0), at(5)], "n": [1, None]},
    )
    entity_rows = {"subject_id": ["a"], "event_timestamp": [at(6)]}
    assert ask(store, table, entity_rows, ttl=timedelta(hours=1)) == [None]


def test_rows_without_a_match_come_back_with_nulls_in_their_place(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """Too early, an unknown key, no key, no time: no row is lost, none moves."""
    table = delta(
        "t",
        {
            "subject_id": ["a", "b", None],
            "event_timestamp": [at(0), at(0), at(0)],
            "n": [1, 2, 3],
        },
    )
    entity_rows = {
        "subject_id": ["b", "a", "nobody", None, "a", "a"],
        "event_timestamp": [at(9), at(-1), at(9), at(9), pd.NaT, at(1)],
    }
    assert ask(store, table, entity_rows) == [2, None, None, None, None, 1]


def test_equal_entity_rows_all_come_back(store: FeatureStore, delta: DeltaTable) -> None:
    """Labels of one subject at one time are not folded into one."""
    table = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]})
    entity_rows = {"subject_id": ["a", "a", "a"], "event_timestamp": [at(1)] * 3}
    assert ask(store, table, entity_rows) == [1, 1, 1]


def test_an_empty_entity_dataframe_gives_no_rows(store: FeatureStore, delta: DeltaTable) -> None:
    """Its columns without types take those of the table."""
    table = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]})
    assert ask(store, table, {"subject_id": [], "event_timestamp": []}) == []


def test_a_table_without_rows_is_refused(
    store: FeatureStore, delta: DeltaTable, tmp_path: Path
) -> None:
    """It would join as nothing but nulls, and nobody would see why."""
    rows = pl.DataFrame({"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]}).clear()
    rows.write_parquet(tmp_path / "p.parquet")
    parquet = FileSource(path=str(tmp_path / "p.parquet"), timestamp_field="event_timestamp")
    for table, name in ((delta("t", rows), "/t"), (parquet, r"/p\.parquet")):
        expected = f"{name}, column 'event_timestamp': expected rows to join"
        with pytest.raises(OfflineStoreError, match=expected):
            ask(store, table, {"subject_id": ["a"], "event_timestamp": [at(1)]})


def test_tables_need_no_order(store: FeatureStore, delta: DeltaTable) -> None:
    """Rows out of order within their keys, and keys out of order, are joined as if sorted."""
    table = delta(
        "t",
        {
            "subject_id": ["b", "a", "b", "a", "a", "b"],
            "event_timestamp": [at(m) for m in (50, 30, 10, 10, 20, 30)],
            "n": [250, 130, 210, 110, 120, 230],
        },
    )
    entity_rows = {
        "subject_id": ["b", "a", "b", "a", "a"],
        "event_timestamp": [at(m) for m in (40, 25, 10, 99, 10)],
    }
    assert ask(store, table, entity_rows) == [230, 120, 210, 130, 110]


@pytest.mark.parametrize("name", ["n_y", "n_x", "n_right", "event_timestamp_right", "subject_id_y"])
def test_no_feature_name_is_special(store: FeatureStore, delta: DeltaTable, name: str) -> None:
    """Names that joins elsewhere give to columns that stand twice are names like others."""
    table = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], name: [1]})
    entity_rows = {"subject_id": ["a"], "event_timestamp": [at(1)]}
    assert ask(store, table, entity_rows, feature=name) == [1]


@pytest.mark.parametrize(
    "noon",
    [
        pd.Timestamp(NOON),
        pd.Timestamp("2026-01-31 12:00"),
        pd.Timestamp("2026-01-31 21:00", tz="Asia/Tokyo"),
        pd.Timestamp("2026-01-31 07:00", tz="America/New_York"),
        "2026-01-31T13:00:00+01:00",
    ],
)
def test_entity_times_are_compared_and_returned_in_utc(
    store: FeatureStore, delta: DeltaTable, noon: object
) -> None:
    """Naive times are UTC, others are converted."""
    table = delta(
        "t",
        {"subject_id": ["a", "a"], "event_timestamp": [at(0), at(1)], "n": [1, 2]},
    )
    view = FeatureView(
        name="v", entities=[SUBJECT], schema=[Field(name="n", dtype=Int64)], source=table
    )
    store.apply([SUBJECT, view])
    entity_df = pd.DataFrame({"subject_id": ["a"], "event_timestamp": [noon]})
    frame = history(store, entity_df, ["v:n"]).to_polars()
    assert frame["n"].to_list() == [1]
    assert frame["event_timestamp"].to_list() == [NOON]


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_table_times_are_compared_in_utc(
    store: FeatureStore, zone: str | None, tmp_path: Path
) -> None:
    """Naive times of a Parquet table are UTC, others are converted."""
    rows = pl.DataFrame({"subject_id": ["a"], "event_timestamp": [NOON], "n": [1]}).with_columns(
        pl.col("event_timestamp").dt.convert_time_zone(zone)
        if zone
        else pl.col("event_timestamp").dt.replace_time_zone(None)
    )
    rows.write_parquet(tmp_path / "t.parquet")
    table = FileSource(path=str(tmp_path / "t.parquet"), timestamp_field="event_timestamp")
    entity_rows = {"subject_id": ["a", "a"], "event_timestamp": [at(-1), at(0)]}
    assert ask(store, table, entity_rows) == [None, 1]


def test_all_keys_of_a_view_must_be_equal(store: FeatureStore, delta: DeltaTable) -> None:
    """A view of two entities joins on both, integers of any width being comparable."""
    table = delta(
        "t",
        pl.DataFrame(
            {
                "subject_id": ["a", "a", "b"],
                "source_id": [1, 2, 1],
                "event_timestamp": [at(0)] * 3,
                "n": [11, 12, 21],
            },
            schema_overrides={"source_id": pl.Int16},
        ),
    )
    view = FeatureView(
        name="v", entities=[SUBJECT, SOURCE], source=table, schema=[Field(name="n", dtype=Int64)]
    )
    store.apply([SUBJECT, SOURCE, view])
    entity_df = pd.DataFrame(
        {
            "subject_id": ["b", "a", "b", "a"],
            "source_id": [1, 2, 2, 70_000],
            "event_timestamp": [at(1)] * 4,
        }
    )
    frame = history(store, entity_df, ["v:n"]).to_polars()
    assert frame["n"].to_list() == [21, 12, None, None]


def test_a_view_without_entities_joins_every_row(store: FeatureStore, delta: DeltaTable) -> None:
    """Its newest row in time counts for all."""
    table = delta("t", {"event_timestamp": [at(5), at(0)], "n": [2, 1]})
    view = FeatureView(name="v", entities=[], source=table, schema=[Field(name="n", dtype=Int64)])
    store.apply([view])
    entity_df = pd.DataFrame({"event_timestamp": [at(9), at(-1), at(1)]})
    frame = history(store, entity_df, ["v:n"]).to_polars()
    assert frame["n"].to_list() == [2, None, 1]


def test_files_that_cannot_matter_are_not_read(store: FeatureStore, delta: DeltaTable) -> None:
    """The log tells the times in each file: those out of every row's reach may even be lost."""
    rows = {"subject_id": ["a"], "n": [1]}
    table = delta("t", {**rows, "event_timestamp": [at(-999)]})
    old = list(Path(table.path).glob("*.parquet"))
    pl.DataFrame({**rows, "event_timestamp": [at(0)]}).write_delta(table.path, mode="append")
    recent = set(Path(table.path).glob("*.parquet")) - set(old)
    pl.DataFrame({**rows, "event_timestamp": [at(999)]}).write_delta(table.path, mode="append")
    for file in Path(table.path).glob("*.parquet"):
        if file not in recent:
            file.unlink()
    asked = {"subject_id": ["a"], "event_timestamp": [at(5)]}
    assert ask(store, table, asked, ttl=timedelta(minutes=9)) == [1]
    with pytest.raises(OfflineStoreError, match="/t: expected files that can be read"):
        ask(store, table, asked)
