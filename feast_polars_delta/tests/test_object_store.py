"""The same calls on an object store that speaks S3, a real server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import boto3
import polars as pl
import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat, ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.types import Int64

from feast_polars_delta import OfflineStoreError, PolarsDeltaRetrievalJob, pinned
from feast_polars_delta.location import locate
from feast_polars_delta.opening import open_table
from feast_polars_delta.tests.conftest import SUBJECT, at, history
from feast_polars_delta.tests.test_logged_features import logs, read

ASKED = {"subject_id": ["b", "a"], "event_timestamp": [at(5), at(5)]}
ROWS = {"subject_id": ["a", "b"], "event_timestamp": [at(0), at(1)], "n": [1, 2]}
ACCESS = {
    "aws_access_key_id": "access",
    "aws_secret_access_key": "secret",
    "aws_region": "us-east-1",
}


@pytest.fixture(scope="module")
def endpoint(free_port: int) -> Iterator[str]:
    """The address of a server with an empty bucket named ``tables``."""
    url = f"http://127.0.0.1:{free_port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _make_bucket(url, deadline=time.monotonic() + 60)
            yield url
        finally:
            server.terminate()


def _make_bucket(url: str, deadline: float) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name=ACCESS["aws_region"],
        aws_access_key_id=ACCESS["aws_access_key_id"],
        aws_secret_access_key=ACCESS["aws_secret_access_key"],
    )
    while True:
        try:
            client.create_bucket(Bucket="tables")
        except EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def remote(
    open_store: Callable[..., FeatureStore], endpoint: str, request: pytest.FixtureRequest
) -> tuple[FeatureStore, str]:
    """A feature store that knows the server, and a folder there for this test."""
    store = open_store(storage_options={**ACCESS, "aws_endpoint_url": endpoint})
    return store, f"s3://tables/{request.node.name.replace('[', '/').rstrip(']')}"


def view_of(folder: str, endpoint: str = "") -> FeatureView:
    """Return a view of one feature, whose Delta table lies in a folder."""
    return FeatureView(
        name="activity",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=FileSource(
            name="activity",
            path=f"{folder}/activity",
            file_format=DeltaFormat(),
            timestamp_field="event_timestamp",
            s3_endpoint_override=endpoint,
        ),
    )


def append(store: FeatureStore, values: list[int], minute: int) -> None:
    """Write a value for each of the two subjects."""
    view = store.get_feature_view("activity")
    rows = pl.DataFrame({**ROWS, "event_timestamp": [at(minute)] * 2, "n": values})
    store.provider.offline_store.offline_write_batch(store.config, view, rows.to_arrow(), None)


def test_tables_are_written_joined_and_read_at_their_versions(
    remote: tuple[FeatureStore, str],
) -> None:
    """Everything that a folder can."""
    store, folder = remote
    store.apply([SUBJECT, view_of(folder)])
    append(store, [1, 2], minute=0)
    first = history(store, ASKED, ["activity:n"])
    append(store, [8, 9], minute=3)
    latest = history(store, ASKED, ["activity:n"])
    assert (latest.versions, latest.to_polars()["n"].to_list()) == ({"activity": 1}, [9, 8])
    again = history(pinned(store, versions=first.versions), ASKED, ["activity:n"])
    assert (again.versions, again.to_polars()["n"].to_list()) == ({"activity": 0}, [2, 1])
    ranged = store.get_historical_features(
        features=["activity:n"], start_date=at(0), end_date=at(1)
    )
    assert isinstance(ranged, PolarsDeltaRetrievalJob)
    assert ranged.to_polars()["n"].to_list() == [1, 2]


def test_a_source_can_name_its_own_endpoint(
    open_store: Callable[..., FeatureStore], endpoint: str, request: pytest.FixtureRequest
) -> None:
    """It goes before the configured one, at which nobody listens."""
    store = open_store(storage_options={**ACCESS, "aws_endpoint_url": "http://127.0.0.1:9"})
    view = view_of(f"s3://tables/{request.node.name}", endpoint)
    store.apply([SUBJECT, view])
    append(store, [1, 2], minute=0)
    assert history(store, ASKED, ["activity:n"]).to_polars()["n"].to_list() == [2, 1]


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_datasets_are_stored_and_overwritten_only_on_request(
    remote: tuple[FeatureStore, str], form: str
) -> None:
    """As Delta table and as Parquet file."""
    store, folder = remote
    store.apply([SUBJECT, view_of(folder)])
    append(store, [1, 2], minute=0)
    storage = SavedDatasetFileStorage(
        path=f"{folder}/stored.{form}",
        file_format=DeltaFormat() if form == "delta" else ParquetFormat(),
    )
    job = history(store, ASKED, ["activity:n"])
    job.persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    options = locate(store.config, storage.file_options.uri).storage_options
    scan = pl.scan_delta if form == "delta" else pl.scan_parquet
    frame = scan(storage.file_options.uri, storage_options=options).collect()
    assert frame["n"].to_list() == [2, 1]


def test_logs_are_added_and_read_back(remote: tuple[FeatureStore, str]) -> None:
    """Parted by date, in a bucket."""
    store, folder = remote
    view = view_of(folder)
    destination = FileLoggingDestination(path=f"{folder}/log", partition_by=["__log_date"])
    logged = FeatureService(
        name="model", features=[view], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([SUBJECT, view, logged])
    store.write_logged_features(logs([1], [at(1)]), logged)
    store.write_logged_features(logs([2], [at(2)]), logged)
    assert read(store, logged)["activity__n"].to_list() == [1, 2]


def test_what_is_not_there_is_named(remote: tuple[FeatureStore, str]) -> None:
    """A table in the bucket, and Parquet files."""
    store, folder = remote
    store.apply([SUBJECT, view_of(folder)])
    with pytest.raises(OfflineStoreError, match="/activity: expected a Delta table, found none"):
        history(store, ASKED, ["activity:n"])
    parquet = FileSource(path=f"{folder}/p", timestamp_field="event_timestamp")
    with pytest.raises(OfflineStoreError, match="/p: expected readable Parquet files"):
        store.provider.offline_store.pull_all_from_table_or_query(
            config=store.config,
            data_source=parquet,
            join_key_columns=[],
            feature_name_columns=["n"],
            timestamp_field="event_timestamp",
        )


def test_rows_that_arrow_holds_in_chunks_are_written_whole(
    remote: tuple[FeatureStore, str],
) -> None:
    """All chunks of a column end up in the bucket."""
    store, folder = remote
    view = view_of(folder)
    store.apply([SUBJECT, view])
    chunks = [pl.DataFrame(ROWS).to_arrow(), pl.DataFrame(ROWS).to_arrow()]
    store.provider.offline_store.offline_write_batch(
        store.config, view, pa.concat_tables(chunks), None
    )
    assert open_table(store.config, view.batch_source).read(lambda rows: rows).height == 4
