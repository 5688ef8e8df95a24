"""What a rebuild would lose: events that were counted once and stand in no table and no log."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from feature_pipeline.batch.activity_parts import each_role
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.store.handover import Handed
from feature_pipeline.store.offline_tables import OfflineTables
from shared.errors import StateError
from shared.events import EARLIEST
from shared.features import (
    KNOWN_AT,
    MENTION_LABEL,
    MENTION_TEXT,
    ROLES,
    SUBJECT_ACTIVITY,
    count_columns,
)
from shared.task import Task

_VIEWS = (MENTION_TEXT, MENTION_LABEL)


def check_no_loss(
    task: Task,
    offline: OfflineTables,
    events: EventTables,
    handed: Handed,
    *,
    now: datetime,
    partitions: int,
    trimmed: bool,
) -> None:
    """Check that the events hold what the last backfill or rebuild counted.

    A table that was taken away is made again without rows and without a mark of what was written.
    In one that is there, counts are compared as of the last handover; but not once retention, which
    keeps twice the longest window, may have dropped what a window counted then.

    Args:
        task: gives windows and labels.
        offline: the tables, made where they were missing.
        events: of tables and log together.
        handed: what was handed over last.
        now: the time that retention goes by, which the log's may be far behind.
        partitions: of the event log.
        trimmed: whether the log has forgotten entries, which the tables hold if they are whole.

    Raises:
        StateError: they hold less; it names the table.
    """
    never = [view for view in _VIEWS if offline.newest_mark(view, partitions) == EARLIEST]
    recent = handed.watermark >= now - task.activity.horizon
    known = pl.col(KNOWN_AT) <= handed.watermark
    then = EventTables(events.mentions.filter(known), events.labels.filter(known))
    if never or recent:
        _check_counts(task, then, handed, _VIEWS if recent else never)
    if MENTION_TEXT in never and (trimmed or _begin_later(then, handed)):
        raise _lost(MENTION_TEXT, "the mentions that were counted", "a table never written")
    if MENTION_LABEL in never and then.labels.is_empty():
        labelled = pl.any_horizontal(pl.col(_counts(task, MENTION_LABEL)) > 0)
        if not offline.read(SUBJECT_ACTIVITY).filter(known, labelled).is_empty():
            raise _lost(MENTION_LABEL, "the labels that were counted", "a table never written")


def _check_counts(task: Task, then: EventTables, handed: Handed, views: Sequence[str]) -> None:
    """Check that no count, as of the last handover, is less than it was then."""
    counted = each_role(task, then, handed.watermark, lambda _, parts: deque(parts, 0))
    for view in views:
        for role in ROLES:
            was, now = handed.states[role].totals, counted.states[role].totals
            both = was.join(now, on="key", how="left", suffix=" now")
            fewer = (
                pl.col(name) > pl.col(f"{name} now").fill_null(0) for name in _counts(task, view)
            )
            less = both.filter(pl.any_horizontal(fewer)).height
            if less:
                wanted = "all that the last backfill or rebuild counted"
                raise _lost(view, wanted, f"less, of {less:,} {role}s")


def _begin_later(then: EventTables, handed: Handed) -> bool:
    """Tell whether a subject that was counted has no mention any longer, or not its first one."""
    first = then.mentions.group_by("subject_id").agg(pl.col(KNOWN_AT).min())
    both = handed.states["subject"].totals.join(
        first, left_on="key", right_on="subject_id", how="left"
    )
    later = pl.col(KNOWN_AT).is_null() | (pl.col(KNOWN_AT) > pl.col("first_seen"))
    return not both.filter(later).is_empty()


def _counts(task: Task, view: str) -> list[str]:
    """Return the counts that a view's rows make."""
    mentions = {f"mentions_{window.name}" for window in task.activity.spans}
    return [name for name in count_columns(task) if (name in mentions) == (view == MENTION_TEXT)]


def _lost(view: str, expected: str, found: str) -> StateError:
    return StateError(
        view,
        expected=expected,
        found=found,
        remedy="Bring the table back from a backup; or believe what is left, and lose the rest for"
        " ever: `python -m feature_pipeline rebuild --accept-loss`.",
    )
