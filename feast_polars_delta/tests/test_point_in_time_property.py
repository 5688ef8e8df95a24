"""The join against brute force: on random tables, Feast's answers are those of the definition."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.repo_config import RepoConfig
from feast.types import Int64
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from feast_polars_delta.tests.conftest import NOON, history

MICROSECOND = timedelta(microseconds=1)
MOMENT = pl.Datetime("us", "UTC")
TABLE: dict[str, pl.DataType | type[pl.DataType]] = {
    "subject_id": pl.String,
    "source_id": pl.Int64,
    "event_timestamp": MOMENT,
    "made": MOMENT,
    "n": pl.Int64,
}


@dataclass(frozen=True)
class ViewUnderTest:
    """One way of reading the random table."""

    name: str
    keys: tuple[str, ...]
    ttl: timedelta
    ties_settled: bool
    """Whether the created timestamp settles ties in the event timestamp."""

    def allowed(
        self, entity_row: dict[str, Any], table: list[dict[str, Any]], *, known_only: bool
    ) -> set[int | None]:
        """Return the values that the definition allows: several only where rows tie in all."""
        asked = entity_row["event_timestamp"]
        if known_only and self.ties_settled:
            table = [row for row in table if row["made"] is not None and row["made"] <= asked]
        reach = [
            row
            for row in table
            if all(row[key] is not None and row[key] == entity_row[key] for key in self.keys)
            and row["event_timestamp"] <= asked
            and (not self.ttl or row["event_timestamp"] >= asked - self.ttl)
        ]
        if not reach:
            return {None}
        last = max(map(self._rank, reach))
        return {row["n"] for row in reach if self._rank(row) == last}

    def _rank(self, row: dict[str, Any]) -> tuple[Any, ...]:
        if not self.ties_settled:
            return (row["event_timestamp"],)
        made = row["made"]
        return (row["event_timestamp"], made is not None, made or NOON)


VIEWS = [
    ViewUnderTest("any_age", ("subject_id",), timedelta(0), ties_settled=True),
    ViewUnderTest("one_hour", ("subject_id",), timedelta(hours=1), ties_settled=True),
    ViewUnderTest("pair", ("subject_id", "source_id"), timedelta(hours=2), ties_settled=True),
    ViewUnderTest("unsettled", ("subject_id",), timedelta(hours=1), ties_settled=False),
    ViewUnderTest("keyless", (), timedelta(hours=1), ties_settled=True),
]

# Few values each, so that ties, duplicates and ends of ttl come up all the time.
subjects = st.sampled_from(["a", "b", None])
sources = st.sampled_from([1, 2, None])
moments = st.builds(
    lambda half_hours, off: NOON + half_hours * timedelta(minutes=30) + off,
    st.integers(0, 6),
    st.sampled_from([timedelta(0), timedelta(0), MICROSECOND, -MICROSECOND]),
)
feature_rows = st.fixed_dictionaries(
    {
        "subject_id": subjects,
        "source_id": sources,
        "event_timestamp": moments,
        "made": st.none() | moments,
        "null": st.booleans(),
    }
)
entity_rows = st.fixed_dictionaries(
    {"subject_id": subjects, "source_id": sources, "event_timestamp": moments}
)


@pytest.fixture(scope="module")
def table_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Delta table, written anew for each example."""
    return tmp_path_factory.mktemp("property") / "table"


@pytest.fixture(scope="module")
def store(table_folder: Path) -> Iterator[FeatureStore]:
    """A feature store with all the views over the one table."""
    store = FeatureStore(
        config=RepoConfig(
            project="property",
            provider="local",
            registry=str(table_folder.with_name("registry.db")),
            online_store={"type": "sqlite", "path": str(table_folder.with_name("online.db"))},
            offline_store={"type": "feast_polars_delta.PolarsDeltaOfflineStore"},
            entity_key_serialization_version=3,
        )
    )
    entities = {
        "subject_id": Entity(name="subject", join_keys=["subject_id"], value_type=ValueType.STRING),
        "source_id": Entity(name="source", join_keys=["source_id"], value_type=ValueType.INT64),
    }
    views = [
        FeatureView(
            name=view.name,
            entities=[entities[key] for key in view.keys],
            ttl=view.ttl,
            schema=[Field(name="n", dtype=Int64)],
            source=FileSource(
                name=view.name,
                path=str(table_folder),
                file_format=DeltaFormat(),
                timestamp_field="event_timestamp",
                created_timestamp_column="made" if view.ties_settled else None,
            ),
        )
        for view in VIEWS
    ]
    store.apply([*entities.values(), *views])
    yield store
    store.teardown()


@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    commits=st.lists(st.lists(feature_rows, max_size=16), min_size=2, max_size=3).filter(any),
    asked=st.lists(entity_rows, min_size=4, max_size=10),
    known_only=st.booleans(),
)
def test_every_entity_row_gets_what_the_definition_says(
    store: FeatureStore,
    table_folder: Path,
    commits: list[list[dict[str, Any]]],
    asked: list[dict[str, Any]],
    known_only: bool,  # noqa: FBT001 - hypothesis gives it by name
) -> None:
    """On ties, duplicates, late rows, nulls, several keys and ends of ttl, for all views."""
    shutil.rmtree(table_folder, ignore_errors=True)
    table: list[dict[str, Any]] = []
    for commit in commits:
        numbered = [
            {**row, "n": None if row["null"] else len(table) + place}
            for place, row in enumerate(commit)
        ]
        pl.DataFrame(numbered, schema=TABLE).write_delta(table_folder, mode="append")
        table += numbered

    entity_df = pd.DataFrame(asked).astype({"subject_id": object, "source_id": "Int64"})
    frame = history(
        store,
        entity_df,
        [f"{view.name}:n" for view in VIEWS],
        full_feature_names=True,
        filter_by_created_timestamp=known_only,
    ).to_polars()

    assert frame.select(list(asked[0])).to_dicts() == asked
    for view in VIEWS:
        answers = frame[f"{view.name}__n"].to_list()
        for entity_row, answer in zip(asked, answers, strict=True):
            allowed = view.allowed(entity_row, table, known_only=known_only)
            event(f"{view.name}: {'a match' if allowed != {None} else 'none'}")
            assert answer in allowed, (view.name, known_only, entity_row)
