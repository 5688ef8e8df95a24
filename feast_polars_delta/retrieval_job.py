"""A retrieval that has been prepared: its result as Arrow, pandas or Polars, or stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.location import Location, locate
from feast_polars_delta.parquet_file import write_parquet_file

if TYPE_CHECKING:
    import pandas as pd


class PolarsDeltaRetrievalJob(RetrievalJob):
    """A query over tables at fixed versions; every call that returns rows runs it."""

    def __init__(
        self,
        collect: Callable[[], pl.DataFrame],
        *,
        config: RepoConfig,
        versions: dict[str, int],
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._collect = collect
        self._config = config
        self._versions = versions
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata

    @property
    def versions(self) -> dict[str, int]:
        """The Delta version that each feature view is read at; Parquet tables have none."""
        return dict(self._versions)

    @property
    def full_feature_names(self) -> bool:
        """Whether feature names begin with the name of their view."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand feature views that Feast computes on the joined rows."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for; None when a range of a table is read."""
        return self._metadata

    def to_polars(self) -> pl.DataFrame:
        """Return the result, on-demand features included, as a Polars frame.

        Raises:
            OfflineStoreError: the files of a table cannot be read.
        """
        frame = pl.from_arrow(self.to_arrow())
        if not isinstance(frame, pl.DataFrame):
            raise TypeError("Polars makes a frame of an Arrow table")
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 - Feast's
        frame = self._collect()
        # One chunk a column: Feast's writer to the online store takes the first chunk only.
        return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,  # noqa: FBT001, FBT002 - Feast's signature
        timeout: int | None = None,
    ) -> None:
        """Store the result as a Delta table or as one Parquet file.

        Raises:
            OfflineStoreError: the storage is not a file, or cannot take the rows.
            SavedDatasetLocationAlreadyExists: something is there, and may not be overwritten.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise OfflineStoreError(
                "saved dataset",
                expected="a SavedDatasetFileStorage",
                found=type(storage).__name__,
            )
        options = storage.file_options
        delta = isinstance(options.file_format, DeltaFormat)
        location = locate(
            self._config, options.uri, endpoint=options.s3_endpoint_override, delta=delta
        )
        if not allow_overwrite and (_is_delta_there if delta else _is_file_there)(location):
            raise SavedDatasetLocationAlreadyExists(location=options.uri)
        frame = pl.DataFrame(self.to_arrow(timeout=timeout))
        if delta:
            _replace_delta(frame, location)
        else:
            write_parquet_file(frame, location)


def _replace_delta(frame: pl.DataFrame, location: Location) -> None:
    with explained(location.uri, expected="a Delta table that takes the rows"):
        frame.write_delta(
            location.uri,
            mode="overwrite",
            delta_write_options={"schema_mode": "overwrite"},
            storage_options=location.storage_options,
        )


def _is_delta_there(location: Location) -> bool:
    with explained(location.uri, expected="a table, or a place for one"):
        return DeltaTable.is_deltatable(location.uri, location.storage_options)


def _is_file_there(location: Location) -> bool:
    if not location.is_remote:
        return Path(location.uri).exists()
    try:
        pl.scan_parquet(location.uri, storage_options=location.storage_options).collect_schema()
    except FileNotFoundError:
        return False
    return True
