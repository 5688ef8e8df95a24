"""A table that features are read from: opened at one version, its columns checked by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast.data_source import DataSource
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.location import Location, is_delta, source_location
from feast_polars_delta.versions import Pin, version_at

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

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raise OfflineStoreError with the table's name where its files cannot be read."""
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            raise OfflineStoreError(
                self.path, expected="files that can be read", found=first_line(error)
            ) from error

    def check_not_empty(self) -> None:
        """Raise OfflineStoreError if the table has no rows: it would join as nothing but nulls."""
        if self.rows.head(1).collect().is_empty():
            raise OfflineStoreError(
                self.path,
                column=", ".join(self.schema),
                expected="rows to join",
                found="none" if self.version is None else f"none at version {self.version}",
                remedy="Write the feature view's first rows before reading it.",
            )

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


def open_table(config: RepoConfig, source: DataSource | None, pin: Pin = None) -> SourceTable:
    """Open the table of a source; a Delta table as its pin says, or at its latest version.

    Raises:
        OfflineStoreError: the table is not there, cannot be read, or has no such version.
    """
    location = source_location(config, source)
    if is_delta(source):
        return _open_delta(location, pin)
    if pin is not None:
        raise OfflineStoreError(
            location.uri,
            expected=f"a Delta table to read at {_phrase(pin)}",
            found="Parquet, which keeps no versions",
        )
    return _open_parquet(location)


def _open_delta(location: Location, pin: Pin) -> SourceTable:
    try:
        number = pin if isinstance(pin, int) else None
        table = DeltaTable(location.uri, number, location.storage_options)
        if isinstance(pin, datetime):
            table.load_as_version(version_at(table, pin))
        rows = pl.scan_delta(table)
        return SourceTable(location.uri, rows, rows.collect_schema(), table.version())
    except TableNotFoundError:
        raise OfflineStoreError(
            location.uri,
            expected="a Delta table",
            found="none",
            remedy="Write the feature view's first rows before reading it.",
        ) from None
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        wanted = "a readable log" if pin is None else f"{_phrase(pin)} in the log"
        raise OfflineStoreError(
            location.uri, expected=f"a Delta table with {wanted}", found=first_line(error)
        ) from error


def _phrase(pin: Pin) -> str:
    return f"version {pin}" if isinstance(pin, int) else f"the moment {pin}"


def _open_parquet(location: Location) -> SourceTable:
    try:
        rows = _scan_parquet(location)
        return SourceTable(location.uri, rows, rows.collect_schema(), None)
    except FileNotFoundError:
        raise OfflineStoreError(location.uri, expected="Parquet files", found="none") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise OfflineStoreError(
            location.uri, expected="readable Parquet files", found=first_line(error)
        ) from error


def _scan_parquet(location: Location) -> pl.LazyFrame:
    """Scan a file, or the Parquet files below a folder; others there, as writers leave, are not."""
    options = location.storage_options
    if location.is_remote:
        folder = not location.uri.endswith((".parquet", ".pq"))
        pattern = location.child("**/*.parquet").uri if folder else location.uri
        return pl.scan_parquet(pattern, storage_options=options, hive_partitioning=folder)
    path = Path(location.uri)
    if not path.is_dir():
        return pl.scan_parquet(path, glob=False)
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise FileNotFoundError
    return pl.scan_parquet(files, glob=False, hive_partitioning=True)


def first_line(error: Exception) -> str:
    """Return the first line of a library's message; deltalake appends native stack traces."""
    return str(error).partition("\n")[0].rstrip(".")
