"""Upkeep of one Delta table, while others append to it.

Appends do not stand in the way of any of this. What replaces the table or drops the same rows at
the same time (a backfill, another upkeep) does: the later of the two begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from feature_pipeline.store.offline_tables import kept_versions
from shared.errors import StateError
from shared.features import KNOWN_AT

_ATTEMPTS = 5
T = TypeVar("T")


@dataclass(frozen=True)
class TableSize:
    """What a table's latest version consists of."""

    rows: int
    files: int
    bytes: int


class DeltaUpkeep:
    """Drops rows, joins small files and deletes old files of a table.

    Commits keep the watermarks that the table holds for each log partition, and none of them is
    an append, so a replay is still dropped and stream scoring passes over them.
    """

    def __init__(self, path: str, *, dry_run: bool = False) -> None:
        """Take a table.

        Args:
            path: its folder or address.
            dry_run: tell what would be done, and change nothing.
        """
        self._path = path
        self._dry_run = dry_run

    def exists(self) -> bool:
        """Tell whether there is such a table."""
        return DeltaTable.is_deltatable(self._path)

    def size(self) -> TableSize:
        """Return the size of the latest version."""

        def measured(table: DeltaTable) -> TableSize:
            files = pl.DataFrame(table.get_add_actions(flatten=True))
            if files.is_empty():
                return TableSize(rows=0, files=0, bytes=0)
            sums = files.select(pl.col("num_records", "size_bytes").sum()).row(0)
            return TableSize(rows=sums[0], files=files.height, bytes=sums[1])

        return self._with_latest(measured)

    def keep_versions(self, period: timedelta) -> None:
        """See that the table's log remembers replaced files and versions for a period.

        Without that, Delta forgets after a week that a file was replaced, and one that an old
        version still needs looks like any other that nothing refers to.
        """
        wanted = kept_versions(period)

        def set_where_different(table: DeltaTable) -> None:
            found = table.metadata().configuration
            if any(found.get(name) != value for name, value in wanted.items()):
                table.alter.set_table_properties(wanted)

        if not self._dry_run:
            self._with_latest(set_where_different)

    def known_since(self, moment: datetime, column: str) -> pl.Series:
        """Return what a column holds, each once, in rows known at a moment or later."""

        def found(table: DeltaTable) -> pl.Series:
            rows = pl.scan_delta(table).filter(pl.col(KNOWN_AT) >= moment)
            return rows.select(pl.col(column).unique()).collect()[column]

        return self._with_latest(found)

    def drop_rows(
        self, before: datetime, key: str | None = None, *, needed: pl.Expr | None = None
    ) -> int:
        """Drop the rows that were known before a moment.

        Args:
            before: the moment.
            key: of a changelog: the column that names whom a row is about. The last row of each
                key before the moment stays, since it holds until the next one: whoever reads as
                of the moment or later reads what was read before.
            needed: of a table without a key: which old rows stay; none do by default.

        Returns:
            The number of rows dropped.
        """

        def drop(table: DeltaTable) -> int:
            old = pl.scan_delta(table).filter(pl.col(KNOWN_AT) < before)
            if key:
                stay = old.sort(KNOWN_AT).unique(key, keep="last")
            else:
                stay = old.head(0) if needed is None else old.filter(needed)
            rows, survivors = pl.collect_all([old.select(pl.len()), stay])
            dropped = int(rows.item()) - survivors.height
            if dropped and not self._dry_run:
                # One commit that replaces the old rows by those that stay.
                write_deltalake(
                    table,
                    survivors.to_arrow(),
                    mode="overwrite",
                    predicate=f"{KNOWN_AT} < '{before.isoformat()}'",
                )
            return dropped

        return self._with_latest(drop)

    def compact(self, target_bytes: int) -> int:
        """Join files that are smaller than a size into some of about it; return how many.

        Rows keep their order.
        """

        def join(table: DeltaTable) -> int:
            sizes = pl.DataFrame(table.get_add_actions(flatten=True))
            small = 0 if sizes.is_empty() else int((sizes["size_bytes"] < target_bytes).sum())
            if small < 2:  # noqa: PLR2004 - one file has none to be joined with
                return 0
            if self._dry_run:
                return small
            return int(table.optimize.compact(target_size=target_bytes)["numFilesRemoved"])

        return self._with_latest(join)

    def vacuum(self, keep: timedelta) -> int:
        """Delete files that no version needs which was the latest within a period; return how many.

        Files that a writer left behind when it was killed go, too, when they are as old.
        """
        hours = int(keep.total_seconds() // 3_600)

        def delete(table: DeltaTable) -> int:
            # Asked first, since each vacuum is two commits, even if it finds nothing.
            files = len(table.vacuum(hours, dry_run=True, full=True))
            if files and not self._dry_run:
                table.vacuum(hours, dry_run=False, full=True)
            return files

        return self._with_latest(delete)

    def _with_latest(self, step: Callable[[DeltaTable], T]) -> T:
        """Run a step on the latest version, and again where another commit came between."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return step(DeltaTable(self._path))
            except CommitFailedError as error:
                if attempt == _ATTEMPTS:
                    raise self._failed(error, "Run it again later.") from error
            except (DeltaError, OSError) as error:
                raise self._failed(error, "The log of the table tells more.") from error
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, error: Exception, remedy: str) -> StateError:
        return StateError(
            f"offline table {self._path}",
            expected="a table that can be tended",
            found=f"{type(error).__name__}: {error}",
            remedy=remedy,
        )
