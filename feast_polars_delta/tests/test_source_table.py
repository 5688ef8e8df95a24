"""Opening tables: what is there, at which version, and what is said when it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from feast import FeatureStore, FileSource
from feast.data_format import DeltaFormat
from feast.data_source import PushSource

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.opening import open_table
from feast_polars_delta.tests.conftest import NOON

DeltaTable = Callable[..., FileSource]

ROWS = {"subject_id": ["a"], "event_timestamp": [NOON], "n": [1]}


def test_a_delta_table_is_read_at_its_latest_version_or_at_the_one_named(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """Each version is what its commit left."""
    source = delta("t", ROWS)
    pl.DataFrame(ROWS).write_delta(source.path, mode="append")
    latest = open_table(store.config, source)
    first = open_table(store.config, source, pin=0)
    assert (latest.version, latest.read(lambda rows: rows).height) == (1, 2)
    assert (first.version, first.read(lambda rows: rows).height) == (0, 1)


def test_parquet_is_read_from_a_file_or_from_a_folder(store: FeatureStore, tmp_path: Path) -> None:
    """It has no version; a source without a format is Parquet."""
    (tmp_path / "parts").mkdir()
    for part in ("a", "b"):
        pl.DataFrame(ROWS).write_parquet(tmp_path / "parts" / f"{part}.parquet")
    for path, height in (("parts", 2), ("parts/a.parquet", 1)):
        table = open_table(store.config, FileSource(path=str(tmp_path / path)))
        assert (table.version, table.read(lambda rows: rows).height) == (None, height)


def test_relative_paths_are_seen_from_the_feature_repository(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """As with Feast's own file stores, for Delta tables too."""
    source = delta("t", ROWS)
    store.config.repo_path = Path(source.path).parent
    relative = FileSource(path="t", file_format=source.file_format)
    assert open_table(store.config, relative).read(lambda rows: rows).height == 1


def test_feast_learns_the_columns_in_its_own_names_of_types(
    store: FeatureStore, delta: DeltaTable
) -> None:
    """Strings are strings to Feast, to which a large string would be JSON."""
    source = delta("t", {**ROWS, "tags": [["x"]]})
    offline_store = store.provider.offline_store
    columns = offline_store.get_table_column_names_and_types_from_data_source(store.config, source)
    assert list(columns) == [
        ("subject_id", "string"),
        ("event_timestamp", "timestamp[us, tz=UTC]"),
        ("n", "int64"),
        ("tags", "list<item: string>"),
    ]


def test_an_absent_table_is_named(store: FeatureStore, delta: DeltaTable, tmp_path: Path) -> None:
    """No folder, or a folder without a table."""
    with pytest.raises(OfflineStoreError, match=r"/absent: expected a Delta table, found none"):
        open_table(store.config, delta("absent"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(OfflineStoreError, match=r"/bare: expected a Delta table, found none"):
        open_table(store.config, delta("bare"))
    with pytest.raises(OfflineStoreError, match=r"/nil: expected Parquet files, found none"):
        open_table(store.config, FileSource(path=str(tmp_path / "nil")))


def test_an_absent_version_is_named(store: FeatureStore, delta: DeltaTable) -> None:
    """A pin to a version that was never written, or to a table that has none, is an error."""
    with pytest.raises(OfflineStoreError, match=r"/t: expected a Delta table with version 7 in"):
        open_table(store.config, delta("t", ROWS), pin=7)
    with pytest.raises(OfflineStoreError, match="expected a Delta table to read at version 7"):
        open_table(store.config, FileSource(path="t.parquet"), pin=7)


def test_damaged_files_are_named(store: FeatureStore, delta: DeltaTable, tmp_path: Path) -> None:
    """A broken log and a file that is no Parquet; the message is one line."""
    source = delta("t", ROWS)
    log = next((Path(source.path) / "_delta_log").glob("*.json"))
    log.write_text("{broken", encoding="utf-8")
    with pytest.raises(OfflineStoreError, match=r"/t: expected a Delta table with a readable log"):
        open_table(store.config, source)
    (tmp_path / "t.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(OfflineStoreError, match=r"t\.parquet: expected readable Parquet") as error:
        open_table(store.config, FileSource(path=str(tmp_path / "t.parquet")))
    assert "\n" not in str(error.value)


def test_a_timestamp_column_must_hold_timestamps(store: FeatureStore, delta: DeltaTable) -> None:
    """Numbers are not taken for times."""
    table = open_table(store.config, delta("t", ROWS))
    with pytest.raises(OfflineStoreError, match=r"/t, column 'n': expected a timestamp, found"):
        table.moment("n")
    with pytest.raises(OfflineStoreError, match=r"/t, column 'when': expected a column of that"):
        table.moment("when")


def test_only_file_sources_are_read(store: FeatureStore, delta: DeltaTable) -> None:
    """Another kind of source is an error that names it."""
    push = PushSource(name="pushed", batch_source=delta("t", ROWS))
    with pytest.raises(OfflineStoreError, match="pushed: expected a FileSource, found PushSource"):
        open_table(store.config, push)


@pytest.mark.parametrize("name", ["a b", "a[b", "a%20b", "a#b", "ä"])
def test_paths_that_delta_lake_breaks_on_are_refused(
    store: FeatureStore, tmp_path: Path, name: str
) -> None:
    """Some are written and cannot be read back; at one the library ends the process."""
    source = FileSource(path=str(tmp_path / name), file_format=DeltaFormat())
    with pytest.raises(OfflineStoreError, match="expected letters, digits and"):
        open_table(store.config, source)
