"""Opening the table of a source: a Delta table at a version, or Parquet files as they are."""

from __future__ import annotations

import os
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from feast.data_source import DataSource
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.location import Location, is_delta, source_location
from feast_polars_delta.source_table import SourceTable
from feast_polars_delta.versions import Pin, version_at

# As Hadoop and Spark name what is no data, or not yet.
_HIDDEN = (".", "_")


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
    wanted = "a readable log" if pin is None else f"{_phrase(pin)} in the log"
    with explained(location.uri, expected=f"a Delta table with {wanted}"):
        try:
            number = pin if isinstance(pin, int) else None
            table = DeltaTable(location.uri, number, location.storage_options)
        except TableNotFoundError:
            raise OfflineStoreError(
                location.uri,
                expected="a Delta table",
                found="none",
                remedy="Write the feature view's first rows before reading it.",
            ) from None
        if isinstance(pin, datetime):
            table.load_as_version(version_at(table, pin))
        rows = pl.scan_delta(table)
        return SourceTable(
            path=location.uri,
            schema=rows.collect_schema(),
            version=table.version(),
            scan=lambda: rows,
            stamp=lambda: None,  # a version never changes
        )


def _phrase(pin: Pin) -> str:
    return f"version {pin}" if isinstance(pin, int) else f"the moment {pin}"


def _open_parquet(location: Location) -> SourceTable:
    path = Path(location.uri)
    if not location.is_remote:
        _check_parquet_path(path)
    scan = partial(_scan_parquet, location)
    with explained(location.uri, expected="readable Parquet files"):
        return SourceTable(
            path=location.uri,
            schema=scan().collect_schema(),
            version=None,
            scan=scan,
            # An object store tells no cheap stamp; there, objects are not replaced in mid-read.
            stamp=(lambda: None) if location.is_remote else partial(_stamp, path),
        )


def _check_parquet_path(path: Path) -> None:
    with explained(str(path), expected="Parquet files"):
        there = any(_files(path))
    if not there:
        raise OfflineStoreError(str(path), expected="Parquet files", found="none")
    if (path / "_delta_log").is_dir():
        raise OfflineStoreError(
            str(path),
            expected="Parquet files",
            found="a Delta table, whose log tells which of its files count",
            remedy="Declare the source with file_format=DeltaFormat().",
        )


def _scan_parquet(location: Location) -> pl.LazyFrame:
    """Scan a file, or those below a folder that are named ``.parquet``, hidden ones left out.

    Below the folder, ``key=value`` in a path is a column; above, it is a name like any other.
    """
    if location.is_remote:
        folder = not location.uri.endswith((".parquet", ".pq"))
        return pl.scan_parquet(
            location.child("**/*.parquet").uri if folder else location.uri,
            hive_partitioning=folder,
            hidden_file_prefix=_HIDDEN,
            storage_options=location.storage_options,
        )
    path = Path(location.uri)
    files = _files(path)
    parted = any("=" in part for file in files for part in file.relative_to(path).parts[:-1])
    if parted and "=" in str(path):
        raise OfflineStoreError(
            str(path),
            expected="a path without '=' above folders named key=value",
            found="one, which Polars would take for a column",
            remedy="Move the files, or write a Delta table.",
        )
    return pl.scan_parquet(files, glob=False, hive_partitioning=parted)


def _stamp(path: Path) -> list[tuple[str, int, int, int]]:
    files = ((file, file.stat()) for file in _files(path))
    return [(str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in files]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.exists() else []
    os.listdir(path)  # noqa: PTH208 - rglob passes over a folder that may not be read
    return sorted(
        file
        for file in path.rglob("*.parquet")
        if not any(_is_hidden(part) for part in file.relative_to(path).parts)
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(_HIDDEN) and "=" not in name
