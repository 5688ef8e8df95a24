"""The offline side of the feature store: a Delta table for each feature view.

Every commit carries, per log partition, the watermark up to which the table holds all rows (a Delta
application transaction). Rows up to it that come again after a crash are dropped, however the
replay is cut into batches, so each row stands in the table once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain

import polars as pl
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError
from pyarrow import RecordBatch, RecordBatchReader

from feature_pipeline.eventlog.clock import from_micros, to_micros
from shared.features import KNOWN_AT
from shared.logs import get_logger

_ATTEMPTS = 5
_log = get_logger(__name__)


class OfflineTables:
    """Delta tables below a folder, one by feature view.

    Args:
        folder: a path, or an address such as ``s3://bucket/path``; how an object store is reached
            stands in the AWS_… variables of the environment.
        keep_versions: how long old versions of a new table can be read.
    """

    def __init__(self, folder: str, keep_versions: timedelta = timedelta(days=30)) -> None:
        self._folder = folder
        self._keep_versions = keep_versions

    def path(self, view: str) -> str:
        """Return the folder of a view's table, as path or address."""
        return f"{self._folder}/{view}"

    def create_missing(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Make empty tables of these schemas where there are none."""
        for view, rows in tables.items():
            if not DeltaTable.is_deltatable(self.path(view)):
                write_deltalake(
                    self.path(view),
                    rows.clear().to_arrow(),
                    mode="error",
                    configuration={**kept_versions(self._keep_versions)},
                )

    def read(self, view: str) -> pl.DataFrame:
        """Return all rows of a view."""
        return pl.scan_delta(self.path(view)).collect()

    def complete_until(self, views: Iterable[str], partitions: int) -> datetime:
        """Return the moment up to which the tables hold all rows of all partitions.

        A table in which nothing is new gets no commit, so its mark stays: views that are written
        together are as complete as the one that was committed last.

        Args:
            views: written together.
            partitions: of the event log.

        Returns:
            The earliest moment there is, if a partition has no row yet.
        """
        paths = [self.path(view) for view in views]
        tables = [DeltaTable(path) for path in paths if DeltaTable.is_deltatable(path)]
        marks = (
            max((table.transaction_version(str(partition)) or 0 for table in tables), default=0)
            for partition in range(partitions)
        )
        return from_micros(min(marks))

    def newest_mark(self, view: str, partitions: int) -> datetime:
        """Return the last watermark of a table in any partition; the earliest if never written.

        Args:
            view: its table is there.
            partitions: of the event log.
        """
        table = DeltaTable(self.path(view))
        marks = (table.transaction_version(str(part)) or 0 for part in range(partitions))
        return from_micros(max(marks))

    def replace(
        self,
        view: str,
        rows: pl.DataFrame | Iterator[pl.DataFrame],
        watermark: datetime,
        partitions: int,
    ) -> None:
        """Replace a view's rows, complete up to a watermark in every partition; one commit.

        Args:
            view: the feature view.
            rows: all of them; or parts, at least one, of which each is asked for when those before
                it are on their way into files, so that a table may be larger than memory.
            watermark: all that is known by then stands in the rows.
            partitions: of the event log.

        Raises:
            BaseException: what the parts raised; the table is as it was then.
        """
        parts = iter([rows]) if isinstance(rows, pl.DataFrame) else rows
        first = next(parts)
        failures = list[BaseException]()

        def batches() -> Iterator[RecordBatch]:
            try:
                for part in chain([first], parts):
                    yield from part.to_arrow().to_batches()
            except GeneratorExit:
                raise
            except BaseException as error:
                failures.append(error)
                raise

        try:
            write_deltalake(
                self.path(view),
                RecordBatchReader.from_batches(first.clear().to_arrow().schema, batches()),
                mode="overwrite",
                schema_mode="overwrite",
                writer_properties=_encoding(first.schema),
                commit_properties=_transactions(dict.fromkeys(range(partitions), watermark)),
            )
        except Exception as error:
            # Delta tells of what the parts raised as an error of its own, as if a table were away.
            if failures:
                raise failures[0] from error
            raise

    def append(self, view: str, parts: Mapping[int, tuple[pl.DataFrame, datetime]]) -> int:
        """Append rows that are new; one commit, or none where nothing is new.

        Args:
            view: the feature view.
            parts: per partition, rows and the watermark up to which they are complete.

        Returns:
            The number of rows written; rows written before are not written again.

        Raises:
            CommitFailedError: others changed the table again and again meanwhile.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._append(view, parts)
            except CommitFailedError as error:
                # Upkeep dropped rows since the table was opened: what is written is asked anew.
                _log.info("appending again", view=view, reason=str(error))
        return self._append(view, parts)

    def _append(self, view: str, parts: Mapping[int, tuple[pl.DataFrame, datetime]]) -> int:
        table = DeltaTable(self.path(view))
        fresh, marks = [], {}
        for partition, (rows, watermark) in parts.items():
            written = from_micros(table.transaction_version(str(partition)) or 0)
            fresh.append(rows.filter(pl.col(KNOWN_AT) > written))
            # A replay may lag behind what another partition's rows make us commit.
            marks[partition] = max(watermark, written)
        added = pl.concat(fresh)
        if added.is_empty():
            return 0
        write_deltalake(
            table,
            added.to_arrow(),
            mode="append",
            commit_properties=_transactions(marks),
        )
        return added.height


def kept_versions(period: timedelta) -> dict[str, str]:
    """Return the properties of a table that remembers old versions, and their files, for long."""
    hours = f"interval {int(period.total_seconds() // 3_600)} hours"
    return {"delta.logRetentionDuration": hours, "delta.deletedFileRetentionDuration": hours}


def _encoding(schema: pl.Schema) -> WriterProperties:
    """Return how a table is encoded that is written as a whole.

    Counts and times lie close to those of the row above, since rows are in order of key or time:
    packed as differences they take less room than in dictionaries, and half the time.
    """
    packed = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
    plain = ColumnProperties(dictionary_enabled=False)
    return WriterProperties(
        compression="SNAPPY",
        default_column_properties=ColumnProperties(statistics_enabled="CHUNK"),
        column_properties={
            name: packed if kind.is_integer() or kind.is_temporal() else plain
            for name, kind in schema.items()
            if not isinstance(kind, pl.String)
        },
    )


def _transactions(watermarks: Mapping[int, datetime]) -> CommitProperties:
    return CommitProperties(
        app_transactions=[
            Transaction(str(partition), to_micros(watermark))
            for partition, watermark in watermarks.items()
        ]
    )
