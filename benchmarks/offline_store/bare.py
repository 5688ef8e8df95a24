"""The join as one would write it by hand with Polars: the bound to compare with."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa

from benchmarks.offline_store.tables import FEATURES, MOMENT, VIEWS, Tables


def join_bare(tables: Tables, labels: pd.DataFrame) -> pa.Table:
    """Return the label rows, in order, with the features of both views as of their times."""
    rows = pl.from_pandas(labels).lazy().with_columns(pl.col("event_timestamp").cast(MOMENT))
    rows = rows.with_row_index("row").sort("event_timestamp")
    for view in VIEWS:
        history = pl.scan_parquet(tables.parquet(view)).sort("event_timestamp", "created")
        features = {f"{view.name}__{name}": pl.col(name) for name in FEATURES}
        rows = rows.join_asof(
            history.select(view.key, "event_timestamp", **features),
            on="event_timestamp",
            by=view.key,
            tolerance=view.ttl or None,
            check_sortedness=False,  # both sides were sorted here
        )
    return rows.sort("row").drop("row").collect().to_arrow()
