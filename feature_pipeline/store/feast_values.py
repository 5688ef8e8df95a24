"""Columns of features as Feast's values. Counts and shares repeat: equal ones are made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import polars as pl

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

_FIELDS = {
    "Int64": "int64_val",
    "Float64": "double_val",
    "String": "string_val",
    "UnixTimestamp": "unix_timestamp_val",
}
"""Where Feast's values keep what is of these types, by Feast's names of them."""
T = TypeVar("T")


def values_of(column: pl.Series, dtype: str) -> list[Value]:
    """Return a column as Feast's values; equal ones are one object."""
    return _of_each(column, dtype, lambda value: value)


def serialised(column: pl.Series, dtype: str) -> list[bytes]:
    """Return a column as online stores keep Feast's values."""
    return _of_each(column, dtype, lambda value: value.SerializeToString())


def _of_each(column: pl.Series, dtype: str, form: Callable[[Value], T]) -> list[T]:
    from feast.protos.feast.types.Value_pb2 import Value

    if isinstance(column.dtype, pl.Datetime):
        column = column.dt.epoch("s")
    plain = column.to_list()
    made = {value: form(Value(**{_FIELDS[dtype]: value})) for value in set(plain)}
    return [made[value] for value in plain]
