"""The log of served features: written by Feast's call, read back by Feast's call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.bigquery_source import BigQueryLoggingDestination
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.types import Int64

from feast_polars_delta import OfflineStoreError, PolarsDeltaRetrievalJob
from feast_polars_delta.tests.conftest import SUBJECT, at

WriteDelta = Callable[..., FileSource]


def service(
    store: FeatureStore, delta: WriteDelta, path: str, partition_by: list[str] | None = None
) -> FeatureService:
    """Return a feature service whose features are logged to a folder."""
    rows = {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]}
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=delta("t", rows),
    )
    destination = FileLoggingDestination(path=path, partition_by=partition_by)
    logged = FeatureService(
        name="model", features=[view], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([SUBJECT, view, logged])
    return logged


def logs(values: list[int], times: list[datetime]) -> pa.Table:
    """Return log rows of subject a in the schema that Feast gives."""
    count = len(values)
    frame = pl.DataFrame(
        {
            "subject_id": ["a"] * count,
            "activity__n": values,
            "activity__n__timestamp": [at(0)] * count,
            "activity__n__status": [2] * count,
            "__log_timestamp": times,
            "__log_date": [time.date() for time in times],
            "__request_id": [f"r{value}" for value in values],
        }
    )
    return frame.to_arrow()


def read(store: FeatureStore, logged: FeatureService, **time_range: Any) -> pl.DataFrame:
    """Return the log rows of a time range."""
    job = store._get_provider().retrieve_feature_service_logs(
        feature_service=logged,
        config=store.config,
        registry=store.registry,
        **{"start_date": at(-9999), "end_date": at(9999), **time_range},
    )
    assert isinstance(job, PolarsDeltaRetrievalJob)
    return job.to_polars().sort("__request_id")


def test_logs_are_added_and_read_back(
    store: FeatureStore, delta: WriteDelta, tmp_path: Path
) -> None:
    """Each call adds to what is there, from a table or from a folder of Parquet files."""
    logged = service(store, delta, str(tmp_path / "log"))
    store.write_logged_features(logs([1, 2], [at(1), at(2)]), logged)
    (tmp_path / "staged").mkdir()
    pl.DataFrame(logs([3], [at(3)])).write_parquet(tmp_path / "staged" / "x.parquet")
    store.write_logged_features(tmp_path / "staged", logged)

    frame = read(store, logged)
    assert frame["activity__n"].to_list() == [1, 2, 3]
    schema = FeatureServiceLoggingSource(logged, store.project).get_schema(store.registry)
    assert {*frame.columns} == {*schema.names}
    assert read(store, logged, start_date=at(2), end_date=at(2))["__request_id"].to_list() == ["r2"]


def test_logs_can_be_parted_by_date(store: FeatureStore, delta: WriteDelta, tmp_path: Path) -> None:
    """A folder for each date; the date comes back as one."""
    logged = service(store, delta, str(tmp_path / "log"), ["__log_date"])
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (30, 31)]
    store.write_logged_features(logs([1, 2], days), logged)
    folders = sorted(folder.name for folder in (tmp_path / "log").iterdir())
    assert folders == ["__log_date=2026-01-30", "__log_date=2026-01-31"]
    assert read(store, logged)["__log_date"].to_list() == [date(2026, 1, 30), date(2026, 1, 31)]


def test_names_of_folders_hold_any_value(
    store: FeatureStore, delta: WriteDelta, tmp_path: Path
) -> None:
    """Slashes and missing values included."""
    logged = service(store, delta, str(tmp_path / "log"), ["__request_id"])
    rows = pl.DataFrame(logs([1, 2], [at(1), at(2)]))
    rows = rows.with_columns(pl.Series("__request_id", ["a/b=c", None]))
    store.write_logged_features(rows.to_arrow(), logged)
    assert read(store, logged)["__request_id"].to_list() == [None, "a/b=c"]


def test_an_unfinished_file_is_not_read(
    store: FeatureStore, delta: WriteDelta, tmp_path: Path
) -> None:
    """As a crash between writing and naming leaves it."""
    logged = service(store, delta, str(tmp_path / "log"))
    store.write_logged_features(logs([1], [at(1)]), logged)
    (tmp_path / "log" / ".x.parquet.unfinished").write_bytes(b"PAR1 half")
    assert read(store, logged)["activity__n"].to_list() == [1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.drop("activity__n"), "column 'activity__n': expected that column"),
        (lambda rows: rows.with_columns(odd=1), "column 'odd': expected only columns of the table"),
        (
            lambda rows: rows.with_columns(activity__n=pl.lit("x")),
            "column 'activity__n': expected values that fit the table's type Int64",
        ),
    ],
)
def test_logs_that_do_not_fit_are_refused_whole(
    store: FeatureStore,
    delta: WriteDelta,
    tmp_path: Path,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    expected: str,
) -> None:
    """Nothing is written."""
    logged = service(store, delta, str(tmp_path / "log"))
    rows = change(pl.DataFrame(logs([1], [at(1)])))
    with pytest.raises(OfflineStoreError, match=expected):
        store.write_logged_features(rows.to_arrow(), logged)
    assert not (tmp_path / "log").exists()


def test_where_logs_cannot_go_is_told(
    store: FeatureStore, delta: WriteDelta, tmp_path: Path
) -> None:
    """Another kind of destination, an unknown column to part by, a folder without files."""
    logged = service(store, delta, str(tmp_path / "log"), ["odd"])
    with pytest.raises(OfflineStoreError, match="column 'odd': expected partition_by to name"):
        store.write_logged_features(logs([1], [at(1)]), logged)
    with pytest.raises(OfflineStoreError, match="expected Parquet files with logs, found none"):
        store.write_logged_features(tmp_path / "nothing", logged)
    elsewhere = BigQueryLoggingDestination(table_ref="t")
    logged.logging_config = LoggingConfig(destination=elsewhere)
    with pytest.raises(
        OfflineStoreError, match="expected a FileLoggingDestination, found BigQuery"
    ):
        store.write_logged_features(logs([1], [at(1)]), logged)
