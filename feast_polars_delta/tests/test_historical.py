"""How a request in Feast's terms finds its columns: names, keys, aliases, mappings, versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource
from feast.errors import EntityTimestampInferenceException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.tests.conftest import SOURCE, SUBJECT, at, history

DeltaTable = Callable[..., FileSource]

NEW_YORK = timezone(timedelta(hours=-5))

ASKED = {"subject_id": ["a", "b"], "event_timestamp": [at(5), at(5)]}
ROWS = {
    "subject_id": ["a", "b"],
    "event_timestamp": [at(0), at(1)],
    "n": [1, 2],
    "share": [0.5, None],
}


def activity(source: FileSource, name: str = "activity") -> FeatureView:
    """Return a view of an integer and a float feature of subjects."""
    return FeatureView(
        name=name,
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64), Field(name="share", dtype=Float64)],
        source=source,
    )


def test_a_feature_service_gives_the_features_of_all_its_views(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """Full names tell the views apart; the columns of the entity dataframe come first."""
    first, second = activity(delta("t1", ROWS), "first"), activity(delta("t2", ROWS), "second")
    service = FeatureService(name="all", features=[first, second[["n"]]])
    store.apply([SUBJECT, first, second, service])
    asked = {"label": ["x", "y"], **ASKED}
    job = history(store, asked, store.get_feature_service("all"), full_feature_names=True)
    assert job.to_polars().drop("event_timestamp").to_dict(as_series=False) == {
        "label": ["x", "y"],
        "subject_id": ["a", "b"],
        "first__n": [1, 2],
        "first__share": [0.5, None],
        "second__n": [1, 2],
    }


def test_types_stay_as_they_are(store: FeatureStore, delta: DeltaTable) -> None:
    """Integers with nulls stay integers, in the answer as in the entity dataframe."""
    rows = pl.DataFrame(ROWS).cast({"n": pl.Int32, "share": pl.Float32})
    store.apply([SUBJECT, activity(delta("t", rows))])
    asked = pd.DataFrame(
        {
            "subject_id": ["a", "nobody"],
            "event_timestamp": [at(5), at(5)],
            "weight": pd.array([7, None], dtype="Int64"),
        }
    )
    table = history(store, asked, ["activity:n", "activity:share"]).to_arrow()
    assert table.schema.field("n").type == pa.int32()
    assert table.schema.field("share").type == pa.float32()
    assert table.schema.field("weight").type == pa.int64()
    assert table["n"].to_pylist() == [1, None]
    assert table["weight"].to_pylist() == [7, None]


def test_one_view_can_be_joined_twice_under_aliases(store: FeatureStore, delta: DeltaTable) -> None:
    """Each alias joins on its own column of the entity dataframe."""
    view = activity(delta("t", ROWS))
    service = FeatureService(
        name="pairs",
        features=[
            view[["n"]].with_name("home").with_join_key_map({"subject_id": "home_id"}),
            view[["n"]].with_name("guest").with_join_key_map({"subject_id": "guest_id"}),
        ],
    )
    store.apply([SUBJECT, view, service])
    asked = {"home_id": ["a", "b"], "guest_id": ["b", "zz"], "event_timestamp": [at(5)] * 2}
    job = history(store, asked, store.get_feature_service("pairs"), full_feature_names=True)
    assert job.to_polars().select("home__n", "guest__n").rows() == [(1, 2), (2, None)]
    assert job.versions == {"activity": 0}


def test_mapped_columns_are_read_by_their_names_in_the_table(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """A field mapping renames key, times and features alike."""
    rows = {
        "subj": ["a", "a"],
        "when": [at(0), at(0)],
        "made_at": [at(2), at(1)],
        "cnt": [2, 1],
        "share": [0.5, 0.5],
    }
    source = delta(
        "t",
        rows,
        timestamp_field="event_timestamp",
        created_timestamp_column="made",
        field_mapping={
            "subj": "subject_id",
            "when": "event_timestamp",
            "made_at": "made",
            "cnt": "n",
        },
    )
    store.apply([SUBJECT, activity(source)])
    frame = history(store, ASKED, ["activity:n"], full_feature_names=True).to_polars()
    assert frame["activity__n"].to_list() == [2, None]


def test_on_demand_features_are_computed_from_the_joined_rows(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """From features and from columns of the entity dataframe; Polars gets them too."""
    view = activity(delta("t", ROWS))

    @on_demand_feature_view(  # type: ignore[untyped-decorator]  # Feast gives it no types
        sources=[view, RequestSource(name="request", schema=[Field(name="add", dtype=Int64)])],
        schema=[Field(name="sum", dtype=Int64)],
        mode="pandas",
    )
    def totals(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["n"] + inputs["add"]})

    with pytest.warns(RuntimeWarning, match="experimental"):
        store.apply([SUBJECT, view, totals])
    job = history(store, {"add": [10, 20], **ASKED}, ["activity:n", "totals:sum"])
    assert job.to_polars().select("n", "sum").rows() == [(1, 11), (2, 22)]


def test_the_column_of_times_may_have_any_name_if_it_is_the_only_one(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """As in Feast's own stores; two candidates are an error."""
    store.apply([SUBJECT, activity(delta("t", ROWS))])
    asked = {"subject_id": ["a", "b"], "seen": [at(5), at(0)]}
    frame = history(store, asked, ["activity:n"]).to_polars()
    assert frame["n"].to_list() == [1, None]
    with pytest.raises(EntityTimestampInferenceException):
        history(store, {**asked, "sold": [at(5), at(0)]}, ["activity:n"])


def test_the_entity_dataframe_is_left_as_it_was(store: FeatureStore, delta: DeltaTable) -> None:
    """The join works on columns of its own."""
    store.apply([SUBJECT, activity(delta("t", ROWS))])
    asked = pd.DataFrame({**ASKED, "event_timestamp": [at(5).replace(tzinfo=None)] * 2})
    before = asked.copy(deep=True)
    history(store, asked, ["activity:n"]).to_arrow()
    pd.testing.assert_frame_equal(asked, before)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"event_timestamp": [at(0)]}, "column 'subject_id': expected a column of that name"),
        (
            {"subject_id": [1], "event_timestamp": [at(0)]},
            "expected entity column 'subject_id' of the table's type String, found type Int64",
        ),
        (
            {"subject_id": ["a"], "n": [1], "event_timestamp": [at(0)]},
            "column 'n': expected a feature name that no other column of the result has",
        ),
        (
            {"subject_id": ["a"], "event_timestamp": ["noon"]},
            "entity dataframe, column 'event_timestamp': expected times",
        ),
        (
            {"subject_id": ["a"], "event_timestamp": [1769861100]},
            "entity dataframe, column 'event_timestamp': expected times, found type int64",
        ),
        (
            {"subject_id": ["a"], "event_timestamp": [datetime(9999, 12, 31, tzinfo=NEW_YORK)]},
            "entity dataframe, column 'event_timestamp': expected times",
        ),
        (
            {"subject_id": ["a"], 0: [1], "0": [1], "event_timestamp": [at(0)]},
            "entity dataframe, column '0': expected each column once",
        ),
        (
            {"subject_id": ["a"], "odd": [object()], "event_timestamp": [at(0)]},
            "entity dataframe, column 'odd': expected values of one type",
        ),
    ],
)
def test_an_entity_dataframe_that_does_not_fit_is_refused(
    store: FeatureStore, delta: DeltaTable, asked: dict[str, Any], expected: str
) -> None:
    """The message names the column, what was expected and what came."""
    store.apply([SUBJECT, activity(delta("t", ROWS))])
    with pytest.raises(OfflineStoreError, match=expected):
        history(store, asked, ["activity:n"])


def test_only_a_dataframe_can_be_joined_to(store: FeatureStore, delta: DeltaTable) -> None:
    """There is no engine here for a query."""
    store.apply([SUBJECT, activity(delta("t", ROWS))])
    with pytest.raises(OfflineStoreError, match="expected a pandas DataFrame, found str"):
        store.get_historical_features("select 1", ["activity:n"])


def test_two_columns_of_one_name_are_refused(store: FeatureStore, delta: DeltaTable) -> None:
    """Pandas allows them; which one is meant cannot be known."""
    store.apply([SUBJECT, activity(delta("t", ROWS))])
    asked = pd.DataFrame([["a", "b", at(0)]], columns=["subject_id", "subject_id", "seen"])
    with pytest.raises(OfflineStoreError, match="column 'subject_id': expected each column once"):
        history(store, asked, ["activity:n"])


def test_a_feature_that_the_table_lacks_is_named(store: FeatureStore, delta: DeltaTable) -> None:
    """With the table, and the columns that it has."""
    view = FeatureView(
        name="activity",
        entities=[SUBJECT, SOURCE],
        schema=[Field(name="mood", dtype=String)],
        source=delta("t", {**ROWS, "source_id": [1, 2]}),
    )
    store.apply([SUBJECT, SOURCE, view])
    asked = {**ASKED, "source_id": [1, 2]}
    with pytest.raises(OfflineStoreError, match=r"/t, column 'mood': .* found only 'subject_id'"):
        history(store, asked, ["activity:mood"])
