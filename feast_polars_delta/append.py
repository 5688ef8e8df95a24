"""Appending rows to the Delta table of a feature view."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.source_table import as_moment, is_delta, location, open_table


def append_rows(config: RepoConfig, view: FeatureView, rows: pa.Table) -> None:
    """Append rows to a feature view's table in one Delta commit; the first append makes the table.

    Times become UTC microseconds, naive ones being UTC; an existing table keeps its types.

    Raises:
        OfflineStoreError: the view's source is not a Delta table, columns are missing or unknown,
            or values do not fit the table's types.
    """
    source = view.batch_source
    path = location(config, source)
    if source is None or not is_delta(source):
        raise OfflineStoreError(
            path, expected="a source with DeltaFormat to append to", found="Parquet"
        )
    frame = _in_utc(pl.DataFrame(rows))
    if DeltaTable.is_deltatable(path):
        frame = _in_types_of(open_table(config, source).schema, frame, path)
    else:
        _check_columns(_declared(view, source), frame, path)
    frame.write_delta(path, mode="append")


def _in_utc(frame: pl.DataFrame) -> pl.DataFrame:
    times = {name: dtype for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)}
    return frame.with_columns(as_moment(name, dtype) for name, dtype in times.items())


def _declared(view: FeatureView, source: DataSource) -> set[str]:
    """Return the columns that a feature view reads, by their names in the table."""
    column_of = {feature: column for column, feature in source.field_mapping.items()}
    fields = [*view.entity_columns, *view.features]
    names = [field.name for field in fields if field.name != DUMMY_ENTITY_ID]
    names += [source.timestamp_field, *filter(None, [source.created_timestamp_column])]
    return {column_of.get(name, name) for name in names}


def _in_types_of(schema: pl.Schema, frame: pl.DataFrame, path: str) -> pl.DataFrame:
    _check_columns(set(schema), frame, path)
    for column in sorted(set(frame.columns) - set(schema)):
        raise OfflineStoreError(
            path, column=column, expected="only columns of the table", found="a new one"
        )
    return frame.select(_in_type(frame[column], dtype, path) for column, dtype in schema.items())


def _in_type(values: pl.Series, dtype: pl.DataType, path: str) -> pl.Series:
    """Return values in a type of the same kind that holds them all; pandas widens at will."""
    if values.dtype == dtype:
        return values
    kinds = (values.dtype, dtype)
    same_kind = (
        values.dtype in (pl.Null, pl.Categorical)
        or all(kind.is_numeric() for kind in kinds)
        or all(kind.is_temporal() for kind in kinds)
    )
    cast = values.cast(dtype, strict=False) if same_kind else None
    lossless = cast is not None and (
        all(kind.is_float() for kind in kinds)  # to the nearest is what a narrower float means
        or cast.cast(values.dtype).eq_missing(values).all()
    )
    if cast is None or not lossless:
        raise OfflineStoreError(
            path,
            column=values.name,
            expected=f"values that fit the table's type {dtype}",
            found=f"type {values.dtype}" if cast is None else f"some of {values.dtype} that do not",
        )
    return cast


def _check_columns(expected: set[str], frame: pl.DataFrame, path: str) -> None:
    for column in sorted(expected - set(frame.columns)):
        raise OfflineStoreError(
            path,
            column=column,
            expected="that column in the rows to append",
            found=f"only {', '.join(map(repr, frame.columns))}",
        )
