"""Parquet files as a source: which of them count, and what happens while they are replaced."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64

from feast_polars_delta import OfflineStoreError
from feast_polars_delta.location import Location
from feast_polars_delta.opening import open_table
from feast_polars_delta.parquet_file import write_parquet_file
from feast_polars_delta.tests.conftest import SUBJECT, at, history

ASKED = {"subject_id": ["a", "b"], "event_timestamp": [at(5), at(5)]}
ROWS = pl.DataFrame({"subject_id": ["a", "b"], "event_timestamp": [at(0), at(0)], "n": [1, 2]})


def view_of(store: FeatureStore, path: Path) -> FileSource:
    """Apply a view of the feature over Parquet files, and return its source."""
    source = FileSource(name="files", path=str(path), timestamp_field="event_timestamp")
    view = FeatureView(
        name="activity", entities=[SUBJECT], schema=[Field(name="n", dtype=Int64)], source=source
    )
    store.apply([SUBJECT, view])
    return source


def answers(store: FeatureStore) -> list[Any]:
    """Return the feature of subjects a and b."""
    values: list[Any] = history(store, ASKED, ["activity:n"]).to_polars()["n"].to_list()
    return values


def write(path: Path, rows: pl.DataFrame = ROWS) -> None:
    """Write rows to a file, in folders that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path)


def test_a_file_that_is_replaced_is_read_as_a_whole(store: FeatureStore, tmp_path: Path) -> None:
    """Rows of two writers never mix: both say the same of the keys, in another order."""
    location = Location(str(tmp_path / "f.parquet"), {})
    write_parquet_file(ROWS, location)
    view_of(store, Path(location.uri))
    stop = threading.Event()

    def replace() -> None:
        for order in itertools.cycle((-1, 1)):
            if stop.wait(0.002):
                return
            write_parquet_file(ROWS[::order], location)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {tuple(answers(store)) for _ in range(60)}
    finally:
        stop.set()
        writer.join()
    assert seen == {(1, 2)}


def test_a_file_that_never_stays_is_told(store: FeatureStore, tmp_path: Path) -> None:
    """After a few attempts, and with what to do about it."""
    write(tmp_path / "f.parquet")
    table = open_table(store.config, view_of(store, tmp_path / "f.parquet"))

    def read_and_replace(rows: pl.LazyFrame) -> pl.LazyFrame:
        write(tmp_path / "other")
        (tmp_path / "other").replace(tmp_path / "f.parquet")
        return rows

    with pytest.raises(OfflineStoreError, match="expected files that stay while they are read"):
        table.read(read_and_replace)


def test_folders_named_by_values_are_columns_below_the_source_only(
    store: FeatureStore, tmp_path: Path
) -> None:
    """What stands above it is where somebody put it."""
    write(tmp_path / "n=7" / "files" / "x.parquet")
    view_of(store, tmp_path / "n=7" / "files")
    assert answers(store) == [1, 2]
    write(tmp_path / "parted" / "n=7" / "x.parquet", ROWS.drop("n"))
    view_of(store, tmp_path / "parted")
    assert answers(store) == [7, 7]
    write(tmp_path / "n=7" / "both" / "n=8" / "x.parquet", ROWS.drop("n"))
    view_of(store, tmp_path / "n=7" / "both")
    with pytest.raises(OfflineStoreError, match="expected a path without '=' above"):
        answers(store)


@pytest.mark.parametrize("hidden", ["_temporary/0/x.parquet", ".tmp/x.parquet", "_x.parquet"])
def test_hidden_files_are_no_data(store: FeatureStore, tmp_path: Path, hidden: str) -> None:
    """Writers name so what is not complete; other kinds of file do not count either."""
    write(tmp_path / "files" / "a.parquet")
    write(tmp_path / "files" / hidden, ROWS.with_columns(n=99))
    (tmp_path / "files" / "_SUCCESS").touch()
    view_of(store, tmp_path / "files")
    assert answers(store) == [1, 2]


def test_a_delta_table_is_not_read_as_files(store: FeatureStore, tmp_path: Path) -> None:
    """Its log tells which files count; without it, deleted rows would come back."""
    ROWS.write_delta(tmp_path / "t")
    view_of(store, tmp_path / "t")
    with pytest.raises(OfflineStoreError, match="found a Delta table, whose log tells"):
        answers(store)


def test_a_file_address_is_a_path(store: FeatureStore, tmp_path: Path) -> None:
    """For a file and for a folder."""
    write(tmp_path / "files" / "a.parquet")
    for name in ("files", "files/a.parquet"):
        source = FileSource(path=f"file://{tmp_path / name}", timestamp_field="event_timestamp")
        assert open_table(store.config, source).read(lambda rows: rows).height == 2
