"""The stateful step of the stream: time does not go back in it."""

from __future__ import annotations

from datetime import datetime, timedelta

from feature_pipeline.definition.records import KnownMention
from feature_pipeline.definition.transform import EventTables, States, empty_states, transform
from feature_pipeline.eventlog.port import Entry, LogBatch
from feature_pipeline.stream.advance_step import AdvanceLogic
from shared.features import ROLES, activity_view
from shared.task import Task
from tests.features.conftest import START
from tests.features.test_eventlog import mention

TEN = START + timedelta(hours=1)


def handed_over(task: Task, watermark: datetime) -> States:
    """Return states that stand where history ends."""
    nothing = EventTables.of([], [])
    return transform(task, empty_states(task), dict.fromkeys(ROLES, nothing), watermark)[0]


def batch(watermark: datetime, *entries: Entry) -> LogBatch:
    return LogBatch(0, entries, position=len(entries), watermark=watermark)


def test_history_may_reach_further_than_the_log(task: Task) -> None:
    """A log whose time stands before the end of history is waited for; its events then count."""
    logic = AdvanceLogic(task, lambda _: handed_over(task, TEN), None)
    ((early,), _) = logic.on_batch([batch(START)])
    assert early.watermark == TEN
    known_at = TEN + timedelta(seconds=1)
    event = KnownMention(mention(1), known_at)
    ((later,), _) = logic.on_batch([batch(known_at, Entry(0, 1, frozenset(ROLES), event))])
    assert later.watermark == known_at
    assert later.tables[activity_view("subject")].height == 1
