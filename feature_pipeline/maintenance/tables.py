"""Upkeep of all offline tables of a task, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from feature_pipeline.maintenance.delta_upkeep import DeltaUpkeep, TableSize
from feature_pipeline.progress import Progress
from feature_pipeline.store.offline_tables import OfflineTables
from shared.errors import InputError
from shared.features import MENTION_LABEL, MENTION_TEXT, ROLES, activity_view, join_key
from shared.predictions import PREDICTION_VIEWS
from shared.task import Task

TARGET_BYTES = 100 * 1024 * 1024
"""About the size of a file: large enough for few of them, small enough to be read by several."""


@dataclass(frozen=True)
class Upkeep:
    """What is to be done.

    Attributes:
        retain: rows that were known longer ago are dropped, but for texts with a label that stays;
            None keeps all.
        keep_versions: how long old versions can be read.
        dry_run: tell what would be done, and change nothing.
    """

    compact: bool
    vacuum: bool
    retain: timedelta | None
    keep_versions: timedelta
    dry_run: bool


@dataclass(frozen=True)
class TableReport:
    """What was done to a table, or would be."""

    view: str
    before: TableSize
    after: TableSize
    dropped_rows: int
    joined_files: int
    deleted_files: int


def tend_tables(
    task: Task, tables: OfflineTables, upkeep: Upkeep, now: datetime, progress: Progress
) -> list[TableReport]:
    """Tend the tables of a task that are there.

    Raises:
        InputError: rows are to be dropped that windows still count.
        StateError: a table cannot be read or written.
    """
    _check_retention(task, upkeep.retain)
    reports = []
    for view, key in _views():
        if DeltaUpkeep(tables.path(view)).exists():
            with progress.step(view):
                reports.append(_tend(view, key, tables, upkeep, now))
    return reports


def _tend(
    view: str, key: str | None, tables: OfflineTables, upkeep: Upkeep, now: datetime
) -> TableReport:
    table = DeltaUpkeep(tables.path(view), dry_run=upkeep.dry_run)
    before = table.size()
    table.keep_versions(upkeep.keep_versions)
    dropped = 0
    if upkeep.retain:
        moment = now - upkeep.retain
        needed = _labelled_since(tables, moment) if view == MENTION_TEXT else None
        dropped = table.drop_rows(moment, key, needed=needed)
    joined = table.compact(TARGET_BYTES) if upkeep.compact else 0
    deleted = table.vacuum(upkeep.keep_versions) if upkeep.vacuum else 0
    return TableReport(view, before, table.size(), dropped, joined, deleted)


def _labelled_since(tables: OfflineTables, moment: datetime) -> pl.Expr | None:
    """Return which mentions have a label that stays; None where there are no labels.

    Only the text tells whom a label is about: without it a rebuild could not count the label, and
    the stream would take it away all the same when it is corrected.
    """
    labels = DeltaUpkeep(tables.path(MENTION_LABEL))
    if not labels.exists():
        return None
    return pl.col("mention_id").is_in(labels.known_since(moment, "mention_id").implode())


def _views() -> Iterator[tuple[str, str | None]]:
    """Yield each view, with the key of those that are changelogs."""
    for role in ROLES:
        yield activity_view(role), join_key(role)
    for view in (MENTION_TEXT, MENTION_LABEL, *PREDICTION_VIEWS):
        yield view, None


def _check_retention(task: Task, retain: timedelta | None) -> None:
    """Refuse to drop mentions that a window still counts, or that a late label may be about."""
    least = 2 * task.activity.horizon
    if retain is not None and retain < least:
        raise InputError(
            "--retain",
            expected=f"at least {least}, twice the longest window",
            found=str(retain),
        )
