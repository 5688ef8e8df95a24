"""What a prepared retrieval gives: frames, and stored datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat, FileFormat, ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.bigquery_source import SavedDatasetBigQueryStorage
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Int64

from feast_polars_delta import OfflineStoreError, PolarsDeltaRetrievalJob
from feast_polars_delta.tests.conftest import SUBJECT, at, history

DeltaTable = Callable[..., FileSource]


@pytest.fixture
def source(delta: DeltaTable) -> FileSource:
    """A table of two commits, hence of two files."""
    source = delta("t", {"subject_id": ["a"], "event_timestamp": [at(0)], "n": [1]})
    rows = pl.DataFrame({"subject_id": ["b"], "event_timestamp": [at(0)], "n": [2]})
    rows.write_delta(source.path, mode="append")
    return source


@pytest.fixture
def job(store: FeatureStore, source: FileSource) -> PolarsDeltaRetrievalJob:
    """The feature of two subjects."""
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=source,
    )
    store.apply([SUBJECT, view])
    asked = {"subject_id": ["b", "a"], "event_timestamp": [at(5), at(3)]}
    return history(store, asked, ["activity:n"])


def test_the_answer_is_the_same_in_every_library(job: PolarsDeltaRetrievalJob) -> None:
    """Arrow, Polars and pandas."""
    assert job.to_polars()["n"].to_list() == [2, 1]
    assert job.to_arrow()["n"].to_pylist() == [2, 1]
    assert job.to_df()["n"].tolist() == [2, 1]


def test_arrow_columns_are_of_one_chunk(store: FeatureStore, source: FileSource) -> None:
    """Feast's writer to the online store would drop the others."""
    job = store.provider.offline_store.pull_all_from_table_or_query(
        store.config, source, ["subject_id"], ["n"], "event_timestamp"
    )
    table = job.to_arrow()
    assert table.num_rows == 2
    assert [column.num_chunks for column in table.columns] == [1, 1, 1]


def test_a_job_tells_what_was_asked_for(job: PolarsDeltaRetrievalJob) -> None:
    """Features, keys and the times of the entity rows."""
    assert job.metadata is not None
    assert job.metadata.features == ["activity:n"]
    assert job.metadata.keys == ["subject_id"]
    assert job.metadata.min_event_timestamp == at(3)
    assert job.metadata.max_event_timestamp == at(5)


@pytest.mark.parametrize("file_format", [DeltaFormat(), ParquetFormat()])
def test_a_saved_dataset_can_be_read_back(
    store: FeatureStore, job: PolarsDeltaRetrievalJob, tmp_path: Path, file_format: FileFormat
) -> None:
    """Through Feast, as a Delta table or as Parquet."""
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"), file_format=file_format)
    with pytest.warns(RuntimeWarning, match="experimental"):
        store.create_saved_dataset(from_=job, name="kept", storage=storage)
    with pytest.warns(RuntimeWarning, match="experimental"):
        frame = store.get_saved_dataset("kept").to_df()
    assert sorted(zip(frame["subject_id"], frame["n"], strict=True)) == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("file_format", [DeltaFormat(), ParquetFormat()])
def test_a_stored_dataset_is_overwritten_only_on_request(
    job: PolarsDeltaRetrievalJob, tmp_path: Path, file_format: FileFormat
) -> None:
    """And stays whole otherwise."""
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"), file_format=file_format)
    job.persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    path = tmp_path / "saved"
    kept = pl.read_delta(path) if isinstance(file_format, DeltaFormat) else pl.read_parquet(path)
    assert kept["n"].to_list() == [2, 1]


def test_a_dataset_is_stored_in_files_only(job: PolarsDeltaRetrievalJob) -> None:
    """The storage of another offline store is refused."""
    with pytest.raises(OfflineStoreError, match="expected a SavedDatasetFileStorage"):
        job.persist(SavedDatasetBigQueryStorage(table="t"))


def test_files_lost_since_the_job_was_made_are_told(
    job: PolarsDeltaRetrievalJob, source: FileSource
) -> None:
    """As an error of the store, not of the reader beneath."""
    for file in Path(source.path).glob("*.parquet"):
        file.unlink()
    with pytest.raises(OfflineStoreError, match="/t: expected files that can be read"):
        job.to_arrow()


def test_an_overwritten_dataset_takes_the_new_columns(
    job: PolarsDeltaRetrievalJob, tmp_path: Path
) -> None:
    """Nothing of the former one is left."""
    storage = SavedDatasetFileStorage(path=str(tmp_path / "saved"), file_format=DeltaFormat())
    pl.DataFrame({"other": ["x"]}).write_delta(tmp_path / "saved")
    job.persist(storage, allow_overwrite=True)
    assert pl.read_delta(tmp_path / "saved").columns == job.to_polars().columns


@pytest.mark.parametrize(
    ("name", "file_format", "expected"),
    [
        ("my dir/saved", DeltaFormat(), "expected letters, digits and"),
        ("file/saved", DeltaFormat(), "expected a Delta table that takes the rows"),
        ("folder", ParquetFormat(), "expected a Parquet file that takes the rows"),
    ],
)
def test_where_a_dataset_cannot_be_stored_is_told(
    job: PolarsDeltaRetrievalJob, tmp_path: Path, name: str, file_format: FileFormat, expected: str
) -> None:
    """Before anything is written."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    storage = SavedDatasetFileStorage(path=str(tmp_path / name), file_format=file_format)
    with pytest.raises(OfflineStoreError, match=expected):
        job.persist(storage, allow_overwrite=True)


@pytest.mark.parametrize("left", [0, 300])
def test_a_truncated_data_file_is_told(
    job: PolarsDeltaRetrievalJob, source: FileSource, left: int
) -> None:
    """Some libraries beneath panic at it."""
    file = next(Path(source.path).glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(OfflineStoreError, match="/t: expected files that can be read"):
        job.to_arrow()
