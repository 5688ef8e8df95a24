"""A table that features are read from: opened at one version, its columns checked by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from feast_polars_delta.errors import OfflineStoreError, explained

MOMENT = pl.Datetime("us", "UTC")
"""In what times are compared: the resolution of Delta Lake; finer ones are cut to it."""

_ATTEMPTS = 5


@dataclass(frozen=True)
class SourceTable:
    """A Delta table at one version, or Parquet files."""

    path: str
    schema: pl.Schema
    version: int | None
    """The Delta version that is read; None for Parquet, which has none."""
    scan: Callable[[], pl.LazyFrame]
    stamp: Callable[[], Any]
    """Tells whether files were replaced: it gives equal values while they were not."""

    def read(self, query: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """Run a query on the rows, all of them from one state of the files.

        Raises:
            OfflineStoreError: the files cannot be read, or are replaced again and again meanwhile.
        """
        for _ in range(_ATTEMPTS):
            before = self.stamp()
            try:
                with explained(self.path, expected="files that can be read"):
                    frame = query(self.scan()).collect()
            except OfflineStoreError:
                if self.stamp() == before:
                    raise
            else:
                if self.stamp() == before:
                    return frame
        raise OfflineStoreError(
            self.path,
            expected="files that stay while they are read",
            found=f"others after each of {_ATTEMPTS} attempts",
            remedy="Write a Delta table, whose versions stay.",
        )

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

    def check_not_empty(self, column: str) -> None:
        """Raise OfflineStoreError if there are no rows: they would join as nothing but nulls."""
        if self.read(lambda rows: rows.select(column).head(1)).is_empty():
            raise OfflineStoreError(
                self.path,
                column=column,
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
