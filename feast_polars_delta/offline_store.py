"""The plug-in that Feast loads by class path: what it asks for, handed to the modules that do it.

Feast imports this module wherever a feature store is opened, and looks for the store and its
configuration in the same one. Polars and Delta are therefore imported by the methods: a process
that reads online features only needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field

if TYPE_CHECKING:
    from feast_polars_delta.retrieval_job import PolarsDeltaRetrievalJob

Version = Annotated[int, Field(ge=0, lt=2**63)]


class PolarsDeltaOfflineStoreConfig(FeastConfigBaseModel):
    """The ``offline_store`` section of a Feast configuration."""

    type: str = "feast_polars_delta.PolarsDeltaOfflineStore"
    versions: dict[str, Version] = Field(default_factory=dict)
    """The Delta version at which a table is read, by the name of its feature view or its source."""
    as_of: datetime | None = None
    """The moment as of which tables are read that ``versions`` does not name; a naive one is UTC.
    None: at their latest version."""
    storage_options: dict[str, str] = Field(default_factory=dict)
    """What an object store must be told, as Delta Lake and Polars name it: ``aws_endpoint_url``,
    ``aws_region``, ``aws_access_key_id`` and so on. What is missing comes from the environment."""


class PolarsDeltaOfflineStore(OfflineStore):
    """Point-in-time joins and range reads over Feast's ``FileSource``, as Delta or Parquet.

    Tables are opened, their versions fixed and their columns checked when a job is made, so that
    mistakes show at once and a job that runs later reads what it says in ``versions``. All methods
    raise OfflineStoreError for a table or a column that does not fit.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(  # noqa: PLR0917 - Feast's signature
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,  # noqa: FBT001, FBT002 - Feast's signature
        filter_by_created_timestamp: bool = False,  # noqa: FBT001, FBT002 - Feast's signature
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsDeltaRetrievalJob:
        """Return a job that adds to each row of the dataframe the features as of its time.

        Every row comes back once, in its order; features without a match are null. Without a
        dataframe the rows are the keys and times at which a table changed in the time range.
        """
        from feast_polars_delta.historical import historical_features

        return historical_features(
            config,
            feature_views,
            feature_refs,
            entity_df,
            registry=registry,
            project=project,
            full_feature_names=full_feature_names,
            known_only=filter_by_created_timestamp,
            time_range=(start_date, end_date),
        )

    @staticmethod
    def pull_latest_from_table_or_query(  # noqa: PLR0917 - Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsDeltaRetrievalJob:
        """Return a job that reads the last row of each key within a time range, ends included."""
        from feast_polars_delta.time_range import TableColumns, pull_latest

        columns = TableColumns(
            join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        return pull_latest(config, data_source, columns, start=start_date, end=end_date)

    @staticmethod
    def pull_all_from_table_or_query(  # noqa: PLR0917 - Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsDeltaRetrievalJob:
        """Return a job that reads all rows within a time range, ends included."""
        from feast_polars_delta.time_range import TableColumns, pull_all

        columns = TableColumns(
            join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        return pull_all(config, data_source, columns, start=start_date, end=end_date)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to the Delta table of a feature view, which is made if it is not there."""
        from feast_polars_delta.append import append_rows

        append_rows(config, feature_view, table)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add served features to the log of a feature service."""
        from feast_polars_delta.logged_features import write_logs

        write_logs(config, data, source, logging_config, registry)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Return the columns of a table with the names of their Arrow types.

        In place of FileSource's own, which resolves no relative path of a Delta table.
        """
        from feast_polars_delta.opening import open_table

        return open_table(config, data_source).arrow_types()
