"""Appending rows to the Delta table of a feature view."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.repo_config import RepoConfig
from feast.types import from_feast_to_pyarrow_type

from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.fit import check_columns, in_type, in_types_of, in_utc
from feast_polars_delta.location import is_delta, source_location
from feast_polars_delta.opening import open_table
from feast_polars_delta.source_table import MOMENT


def append_rows(config: RepoConfig, view: FeatureView, rows: pa.Table) -> None:
    """Append rows to a feature view's table in one Delta commit; the first append makes the table.

    Times become UTC microseconds, naive ones being UTC; an existing table keeps its types.

    Raises:
        OfflineStoreError: the view's source is not a Delta table, columns are missing or unknown,
            or values do not fit the table's types.
    """
    source = view.batch_source
    location = source_location(config, source)
    if source is None or not is_delta(source):
        raise OfflineStoreError(
            location.uri, expected="a source with DeltaFormat to append to", found="Parquet"
        )
    frame = in_utc(pl.DataFrame(rows))
    with explained(location.uri, expected="a table, or a place for one"):
        there = DeltaTable.is_deltatable(location.uri, location.storage_options)
    if there:
        frame = in_types_of(open_table(config, source).schema, frame, location.uri)
    else:
        frame = _as_declared(view, source, frame, location.uri)
    with explained(location.uri, expected="a table that takes the rows"):
        frame.write_delta(location.uri, mode="append", storage_options=location.storage_options)


def _as_declared(
    view: FeatureView, source: DataSource, frame: pl.DataFrame, table: str
) -> pl.DataFrame:
    """Return the first rows with the types that a feature view declares of its columns."""
    schema = _declared(view, source)
    check_columns(set(schema), frame, table)
    return frame.with_columns(in_type(frame[name], dtype, table) for name, dtype in schema.items())


def _declared(view: FeatureView, source: DataSource) -> pl.Schema:
    """Return the columns that a feature view reads, by their names in the table."""
    column_of = {feature: column for column, feature in source.field_mapping.items()}
    fields = [*view.entity_columns, *view.features]
    arrow = {
        field.name: from_feast_to_pyarrow_type(field.dtype)
        for field in fields
        if field.name != DUMMY_ENTITY_ID
    }
    schema = pl.DataFrame(pa.schema(list(arrow.items())).empty_table()).schema
    declared = {column_of.get(name, name): dtype for name, dtype in schema.items()}
    for time in (source.timestamp_field, source.created_timestamp_column):
        if time:
            declared[column_of.get(time, time)] = MOMENT
    return pl.Schema(declared)
