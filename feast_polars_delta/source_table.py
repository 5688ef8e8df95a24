"""A table that features are read from: opened at one version, its columns checked by name."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError

MOMENT = pl.Datetime("us", "UTC")
"""In what times are compared: the resolution of Delta Lake; finer ones are cut to it."""


@dataclass(frozen=True)
class SourceTable:
    """A Delta table at one version, or Parquet files. ``rows`` is lazy."""

    path: str
    rows: pl.LazyFrame
    schema: pl.Schema
    version: int | None
    """The Delta version that is read; None for Parquet, which has none."""

    def type_of(self, column: str) -> pl.DataType:
        """Return the type of a column, or raise OfflineStoreError if there is no such column."""
        if column not in self.schema:
            raise OfflineStoreError(
                self.path,
                column=column,
                expected="a column of that name",
                found=f"only {', '.join(map(repr, self.schema.names()))}",
            )
        return self.schema[column]

    def column(self, name: str) -> pl.Expr:
        """Return a column of the table, or raise OfflineStoreError if there is no such column."""
        self.type_of(name)
        return pl.col(name)

    def moment(self, column: str) -> pl.Expr:
        """Return a column of times in UTC microseconds, or raise OfflineStoreError if it is none.

        Naive times are UTC.
        """
        dtype = self.type_of(column)
        if not isinstance(dtype, pl.Datetime):
            raise OfflineStoreError(
                self.path, column=column, expected="a timestamp", found=f"type {dtype}"
            )
        return as_moment(column, dtype)

    def arrow_types(self) -> list[tuple[str, str]]:
        """Return the columns with the names of their Arrow types, as Feast's type map knows them.

        Polars calls its strings and lists large ones; to Feast a large string is JSON.
        """
        schema = self.schema.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        return [(field.name, str(field.type).replace("large_", "")) for field in schema]


def as_moment(column: str, dtype: pl.Datetime) -> pl.Expr:
    """Return a column of times in UTC microseconds; naive times are UTC."""
    moment = pl.col(column)
    if dtype == MOMENT:
        return moment  # bare, so that a filter on it reaches the statistics of the files
    if dtype.time_zone is None:
        moment = moment.dt.replace_time_zone("UTC")
    return moment.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def location(config: RepoConfig, source: DataSource | None) -> str:
    """Return the path of a source, relative ones seen from the feature repository.

    Raises:
        OfflineStoreError: the source is not a file.
    """
    if not isinstance(source, FileSource):
        raise OfflineStoreError(
            getattr(source, "name", "data source"),
            expected="a FileSource",
            found=type(source).__name__,
        )
    return FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.path)


def is_delta(source: DataSource | None) -> bool:
    """Tell whether a source is declared to be a Delta table."""
    return isinstance(source, FileSource) and isinstance(source.file_format, DeltaFormat)


def open_table(
    config: RepoConfig, source: DataSource | None, version: int | None = None
) -> SourceTable:
    """Open the table of a source; a Delta table at a version or at its latest.

    Raises:
        OfflineStoreError: the table is not there, cannot be read, or has no such version.
    """
    path = location(config, source)
    if is_delta(source):
        return _open_delta(path, version)
    if version is not None:
        raise OfflineStoreError(
            path, expected=f"a Delta table to read at version {version}", found="Parquet"
        )
    return _open_parquet(path)


def _open_delta(path: str, version: int | None) -> SourceTable:
    try:
        table = DeltaTable(path, version=version)
        rows = pl.scan_delta(table)
        return SourceTable(path, rows, rows.collect_schema(), table.version())
    except TableNotFoundError:
        raise OfflineStoreError(
            path,
            expected="a Delta table",
            found="none",
            remedy="Write the feature view's first rows before reading it.",
        ) from None
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        wanted = "a readable log" if version is None else f"version {version} in the log"
        raise OfflineStoreError(
            path, expected=f"a Delta table with {wanted}", found=_first_line(error)
        ) from error


def _open_parquet(path: str) -> SourceTable:
    rows = pl.scan_parquet(path)
    try:
        return SourceTable(path, rows, rows.collect_schema(), None)
    except FileNotFoundError:
        raise OfflineStoreError(path, expected="Parquet files", found="none") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise OfflineStoreError(
            path, expected="readable Parquet files", found=_first_line(error)
        ) from error


def _first_line(error: Exception) -> str:
    # deltalake appends a native stack trace to some messages.
    return str(error).partition("\n")[0].rstrip(".")
