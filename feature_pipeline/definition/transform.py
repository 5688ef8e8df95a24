"""The one definition of the features. The batch and the stream path both call ``transform``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from feature_pipeline.definition.activity import ActivityState, advance
from feature_pipeline.definition.mention_features import mention_label, mention_text
from feature_pipeline.definition.records import (
    KnownLabel,
    KnownMention,
    label_table,
    mention_table,
    role_events,
)
from shared.events import EARLIEST
from shared.features import MENTION_LABEL, MENTION_TEXT, ROLES, Role, activity_view, join_key
from shared.task import Task

States = dict[Role, ActivityState]
Tables = dict[str, pl.DataFrame]
"""Rows by feature view."""


@dataclass(frozen=True)
class EventTables:
    """Events as tables: ``records.MENTION_SCHEMA`` and ``records.LABEL_SCHEMA``."""

    mentions: pl.DataFrame
    labels: pl.DataFrame

    @classmethod
    def of(cls, mentions: list[KnownMention], labels: list[KnownLabel]) -> EventTables:
        """Make tables of events."""
        return cls(mention_table(mentions), label_table(labels))


def empty_states(task: Task) -> States:
    """Return the state before the first event, for each role."""
    return {role: ActivityState.empty(task) for role in ROLES}


def transform(
    task: Task, states: States, events: dict[Role, EventTables], watermark: datetime
) -> tuple[States, Tables]:
    """Turn events into the rows of all feature views.

    Args:
        task: gives windows and labels.
        states: per role, what the last call returned.
        events: per role, what happened to its keys since. A partition of the log holds the
            events of its subjects and of its sources, which need not be the same events; a
            mention's own features go with its subject.
        watermark: no event known at or before it will come later.

    Returns:
        The new states, and rows by feature view.
    """
    advanced, tables = activity(task, states, events, watermark)
    tables[MENTION_TEXT] = mention_text(events["subject"].mentions)
    tables[MENTION_LABEL] = mention_label(events["subject"].labels)
    return advanced, tables


def activity(
    task: Task, states: States, events: dict[Role, EventTables], watermark: datetime
) -> tuple[States, Tables]:
    """Turn events into the rows of the activity views only; see ``transform``."""
    advanced: States = {}
    tables: Tables = {}
    for role in ROLES:
        happened = role_events(role, events[role].mentions, events[role].labels)
        advanced[role], changelog = advance(task, states[role], happened, watermark)
        tables[activity_view(role)] = changelog.rename({"key": join_key(role)})
    return advanced, tables


def empty_tables(task: Task) -> Tables:
    """Return every feature view's table without rows: its schema."""
    nothing = EventTables.of([], [])
    return transform(task, empty_states(task), dict.fromkeys(ROLES, nothing), EARLIEST)[1]
