"""The offline side of the feature store: a Delta table for each feature view.

Every commit carries, per log partition, the watermark up to which the table holds all rows (a Delta
application transaction). Rows up to it that come again after a crash are dropped, however the
replay is cut into batches, so each row stands in the table once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from feature_pipeline.eventlog.clock import from_micros, to_micros
from shared.features import KNOWN_AT


class OfflineTables:
    """Delta tables below a folder, one by feature view.

    Args:
        folder: a path, or an address such as ``s3://bucket/path``; how an object store is reached
            stands in the AWS_… variables of the environment.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, view: str) -> str:
        """Return the folder of a view's table, as path or address."""
        return f"{self._folder}/{view}"

    def create_missing(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Make empty tables of these schemas where there are none."""
        for view, rows in tables.items():
            if not DeltaTable.is_deltatable(self.path(view)):
                write_deltalake(self.path(view), rows.clear().to_arrow(), mode="error")

    def replace(self, view: str, rows: pl.DataFrame, watermark: datetime, partitions: int) -> None:
        """Replace a view's rows, complete up to a watermark in every partition; one commit."""
        write_deltalake(
            self.path(view),
            rows.to_arrow(),
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=_transactions(dict.fromkeys(range(partitions), watermark)),
        )

    def append(self, view: str, parts: Mapping[int, tuple[pl.DataFrame, datetime]]) -> int:
        """Append rows that are new; one commit, or none where nothing is new.

        Args:
            view: the feature view.
            parts: per partition, rows and the watermark up to which they are complete.

        Returns:
            The number of rows written; rows written before are not written again.
        """
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


def _transactions(watermarks: Mapping[int, datetime]) -> CommitProperties:
    return CommitProperties(
        app_transactions=[
            Transaction(str(partition), to_micros(watermark))
            for partition, watermark in watermarks.items()
        ]
    )
