"""Storing the features that were served: files that are only ever added to a folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import polars as pl
import pyarrow as pa
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.fit import in_types_of, in_utc
from feast_polars_delta.location import locate
from feast_polars_delta.parquet_file import write_parquet_file

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def write_logs(
    config: RepoConfig,
    logs: pa.Table | Path,
    source: LoggingSource,
    logging_config: LoggingConfig,
    registry: BaseRegistry,
) -> None:
    """Add served features to the destination of their log, as Parquet files of their own.

    The columns of ``partition_by`` become folders, ``column=value``, as Hive lays them out.

    Args:
        config: where relative paths begin, and how object stores are reached.
        logs: rows in the schema of the source, or a folder of Parquet files with such rows.
        source: what was logged; tells the schema.
        logging_config: names a ``FileLoggingDestination``.
        registry: the feature views that the schema is made of.

    Raises:
        OfflineStoreError: the destination is no file, or the rows do not fit the schema.
    """
    destination = logging_config.destination
    if not isinstance(destination, FileLoggingDestination):
        raise OfflineStoreError(
            "logging destination",
            expected="a FileLoggingDestination",
            found=type(destination).__name__,
        )
    folder = locate(config, destination.path, endpoint=destination.s3_endpoint_override)
    schema = pl.DataFrame(source.get_schema(registry).empty_table()).schema
    rows = pl.DataFrame(logs) if isinstance(logs, pa.Table) else _read(logs)
    rows = in_types_of(schema, in_utc(rows), folder.uri)
    for subfolder, part in _parts(rows, destination.partition_by or [], folder.uri):
        write_parquet_file(part, folder.child(f"{subfolder}{uuid4().hex}.parquet"))


def _read(folder: Path) -> pl.DataFrame:
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.parquet"))
    if not files:
        raise OfflineStoreError(str(folder), expected="Parquet files with logs", found="none")
    with explained(str(folder), expected="Parquet files that can be read"):
        return pl.read_parquet(files, glob=False, hive_partitioning=False)


def _parts(rows: pl.DataFrame, keys: list[str], place: str) -> list[tuple[str, pl.DataFrame]]:
    for key in sorted(set(keys) - set(rows.columns)):
        raise OfflineStoreError(
            place,
            column=key,
            expected="partition_by to name columns of the log",
            found=f"only {', '.join(map(repr, rows.columns))}",
        )
    if not keys:
        return [("", rows)]
    parts = rows.partition_by(keys, as_dict=True, include_key=False)
    return [(_hive_folder(keys, values), part) for values, part in parts.items()]


def _hive_folder(keys: list[str], values: tuple[object, ...]) -> str:
    texts = (_NO_VALUE if value is None else quote(str(value), safe="") for value in values)
    return "".join(f"{key}={text}/" for key, text in zip(keys, texts, strict=True))
