"""Writing one Parquet file, so that no reader ever sees half of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from feast_polars_delta.errors import explained
from feast_polars_delta.location import Location


def write_parquet_file(frame: pl.DataFrame, location: Location) -> None:
    """Write a file, or replace it; an object store puts it in one piece, a folder renames it.

    Raises:
        OfflineStoreError: it cannot be written.
    """
    with explained(location.uri, expected="a Parquet file that takes the rows"):
        if location.is_remote:
            frame.write_parquet(location.uri, storage_options=location.storage_options)
            return
        path = Path(location.uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        frame.write_parquet(unfinished)
        unfinished.replace(path)
