"""A retrieval that has been prepared: its result as Arrow, pandas or Polars, or stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_polars_delta.errors import OfflineStoreError

if TYPE_CHECKING:
    import pandas as pd


class PolarsDeltaRetrievalJob(RetrievalJob):
    """A lazy query over tables at fixed versions; every call that returns rows runs it."""

    def __init__(
        self,
        query: pl.LazyFrame,
        *,
        config: RepoConfig,
        versions: dict[str, int],
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._query = query
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
        try:
            frame = self._query.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise OfflineStoreError(
                ", ".join(self._versions) or "Parquet files",
                expected="files that can be read",
                found=str(error).partition("\n")[0],
            ) from error
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
            OfflineStoreError: the storage is not a file.
            SavedDatasetLocationAlreadyExists: something is there, and may not be overwritten.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise OfflineStoreError(
                "saved dataset",
                expected="a SavedDatasetFileStorage",
                found=type(storage).__name__,
            )
        options = storage.file_options
        path = FileSource.get_uri_for_file_path(repo_path=self._config.repo_path, uri=options.uri)
        delta = isinstance(options.file_format, DeltaFormat)
        there = DeltaTable.is_deltatable(path) if delta else Path(path).exists()
        if there and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=options.uri)
        frame = pl.DataFrame(self.to_arrow(timeout=timeout))
        if delta:
            frame.write_delta(path, mode="overwrite")
        else:
            _write_parquet(frame, Path(path))


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    frame.write_parquet(unfinished)
    unfinished.replace(path)
