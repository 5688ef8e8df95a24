"""Appending rows to the Delta table of a feature view."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.fit import check_columns, in_types_of, in_utc
from feast_polars_delta.location import is_delta, source_location
from feast_polars_delta.source_table import open_table


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
    if DeltaTable.is_deltatable(location.uri, location.storage_options):
        frame = in_types_of(open_table(config, source).schema, frame, location.uri)
    else:
        check_columns(_declared(view, source), frame, location.uri)
    frame.write_delta(location.uri, mode="append", storage_options=location.storage_options)


def _declared(view: FeatureView, source: DataSource) -> set[str]:
    """Return the columns that a feature view reads, by their names in the table."""
    column_of = {feature: column for column, feature in source.field_mapping.items()}
    fields = [*view.entity_columns, *view.features]
    names = [field.name for field in fields if field.name != DUMMY_ENTITY_ID]
    names += [source.timestamp_field, *filter(None, [source.created_timestamp_column])]
    return {column_of.get(name, name) for name in names}
