"""Fitting rows to the columns and types of a table, without losing a value."""

from __future__ import annotations

import polars as pl

from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.source_table import as_moment


def in_utc(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with their times in UTC microseconds; naive ones are UTC."""
    times = {name: dtype for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)}
    return frame.with_columns(as_moment(name, dtype) for name, dtype in times.items())


def in_types_of(schema: pl.Schema, frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """Return rows with the columns of a table, in its order and types.

    Raises:
        OfflineStoreError: a column is missing or new, or values do not fit its type.
    """
    check_columns(set(schema), frame, table)
    for column in sorted(set(frame.columns) - set(schema)):
        raise OfflineStoreError(
            table, column=column, expected="only columns of the table", found="a new one"
        )
    return frame.select(in_type(frame[column], dtype, table) for column, dtype in schema.items())


def check_columns(expected: set[str], frame: pl.DataFrame, table: str) -> None:
    """Raise OfflineStoreError if a column is missing."""
    for column in sorted(expected - set(frame.columns)):
        raise OfflineStoreError(
            table,
            column=column,
            expected="that column in the rows to write",
            found=f"only {', '.join(map(repr, frame.columns))}",
        )


def in_type(values: pl.Series, dtype: pl.DataType, table: str) -> pl.Series:
    """Return values in a type of the same kind that holds them all; pandas widens at will.

    Raises:
        OfflineStoreError: the kind is another, or a value would be lost.
    """
    if values.dtype == dtype:
        return values
    kinds = (values.dtype, dtype)
    same_kind = (
        values.dtype in (pl.Null, pl.Categorical)
        or all(kind.is_numeric() for kind in kinds)
        or all(kind.is_temporal() for kind in kinds)
    )
    cast = values.cast(dtype, strict=False) if same_kind else None
    if cast is not None and all(kind.is_float() for kind in kinds):
        # To the nearest is what a narrower float means, but not to infinity.
        lossless = (cast.is_infinite() == values.is_infinite()).all()
    else:
        lossless = cast is not None and cast.cast(values.dtype).eq_missing(values).all()
    if cast is None or not lossless:
        raise OfflineStoreError(
            table,
            column=values.name,
            expected=f"values that fit the table's type {dtype}",
            found=f"type {values.dtype}" if cast is None else f"some of {values.dtype} that do not",
        )
    return cast
