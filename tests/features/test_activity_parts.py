"""A whole history, a part at a time: what comes of it is what one call makes of all of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import repeat
from pathlib import Path
from threading import Event
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from feature_pipeline.batch import activity_parts
from feature_pipeline.batch.activity_parts import ActivityParts, each_role
from feature_pipeline.definition.records import (
    KnownLabel,
    KnownMention,
    label_table,
    mention_table,
)
from feature_pipeline.definition.transform import EventTables, activity, empty_states
from shared.errors import StateError
from shared.events import Label, Mention
from shared.features import ROLES, activity_view, join_key
from shared.file_lock import hold_file
from tests.features.conftest import START, small_task

TASK = small_task()


@st.composite
def histories(draw: st.DrawFn) -> EventTables:
    """Draw mentions of few subjects and sources, of which some have a label."""
    mentions, labels, now = list[KnownMention](), list[KnownLabel](), START
    for number, gap in enumerate(draw(st.lists(st.integers(0, 90_000_000), max_size=30))):
        now += timedelta(microseconds=gap)
        subject, source = draw(st.sampled_from("abcd")), draw(st.sampled_from("xyz"))
        mention = Mention(
            mention_id=f"m{number}",
            subject_id=subject,
            source_id=source,
            text=draw(st.sampled_from(["fine", "NOT  fine &amp; late!", "RT @ann: www.x.io é"])),
            published_at=now,
        )
        mentions.append(KnownMention(mention, now))
        if draw(st.booleans()):
            said = Label(mention_id=f"m{number}", label=draw(labels_of_task), labelled_at=now)
            labels.append(KnownLabel(said, now + timedelta(seconds=10), subject, source))
    return EventTables(mention_table(mentions), label_table(labels))


labels_of_task = st.sampled_from(TASK.labels)


@given(histories(), st.integers(1, 12))
def test_parts_are_the_whole_cut_between_keys(history: EventTables, part_events: int) -> None:
    """However small the parts, rows, totals and latest rows are those of one call, in order."""
    watermark = START + timedelta(hours=1)
    events = dict.fromkeys(ROLES, history)
    states, tables = activity(TASK, empty_states(TASK), events, watermark)
    for role in ROLES:
        whole = tables[activity_view(role)]
        parts = ActivityParts(TASK, role, history, watermark, part_events=part_events)
        assert_frame_equal(pl.concat([rows for _, rows in parts]), whole)
        assert_frame_equal(parts.state().totals, states[role].totals)
        order = ["at", "key", "what", "delta"]
        assert_frame_equal(parts.state().pending.sort(order), states[role].pending.sort(order))
        latest = whole.group_by(join_key(role), maintain_order=True).last()
        assert_frame_equal(parts.latest(), latest.select(whole.columns))
        assert parts.rows == whole.height


def test_a_part_holds_whole_keys_and_counts_its_events() -> None:
    """No key is in two parts, and all parts together count every event of the role once."""
    known = [_mention(number, subject=f"s{number % 7}") for number in range(50)]
    history = EventTables(mention_table(known), label_table([]))
    parts = list(ActivityParts(TASK, "subject", history, _end(), part_events=10))
    assert len(parts) == 5
    keys = [set(rows["subject_id"]) for _, rows in parts]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 7
    assert sum(counted for counted, _ in parts) == 50


def test_a_part_takes_no_key_once_it_has_events_enough() -> None:
    """A key with many events ends its part: it is never followed by others there."""
    sizes = {"a": 3, "b": 100, "c": 1, "d": 5}
    subjects = [subject for subject, size in sizes.items() for _ in range(size)]
    known = [_mention(number, subject) for number, subject in enumerate(subjects)]
    history = EventTables(mention_table(known), label_table([]))
    parts = ActivityParts(TASK, "subject", history, _end(), part_events=10)
    assert [counted for counted, _ in parts] == [103, 6]


def test_what_remains_is_known_only_of_parts_that_were_read_once() -> None:
    """Half of the parts would give states of half the keys, and reading twice counts twice."""
    known = [_mention(number, subject=f"s{number}") for number in range(3)]
    history = EventTables(mention_table(known), label_table([]))
    parts = ActivityParts(TASK, "subject", history, _end(), part_events=1)
    reading = iter(parts)
    next(reading)
    for remains in (parts.state, parts.latest):
        with pytest.raises(RuntimeError, match="not read"):
            remains()
    assert len([*reading]) == 2
    assert parts.state().totals.height == parts.latest().height == 3
    with pytest.raises(RuntimeError, match="read once"):
        next(iter(parts))


def test_what_a_writer_raises_is_raised() -> None:
    """A view that cannot be written is no success, whatever became of the other."""

    def take_rows(view: str, parts: Iterator[tuple[int, pl.DataFrame]]) -> None:
        if view == activity_view("source"):
            raise OSError("no space left")
        list(parts)

    history = EventTables(mention_table([_mention(1)]), label_table([]))
    with pytest.raises(OSError, match="no space left"):
        each_role(TASK, history, _end(), take_rows)


def test_a_view_that_fails_stops_the_other() -> None:
    """The other asks for no further part, and what is raised is why the first one failed."""
    failed = Event()

    def take_rows(view: str, parts: Iterator[tuple[int, pl.DataFrame]]) -> None:
        if view == activity_view("source"):
            failed.set()
            raise OSError("no space left")
        failed.wait()
        for _ in parts:
            pass

    history = EventTables(mention_table([_mention(1)]), label_table([]))
    with (
        patch.object(activity_parts, "_slices", lambda events, _: repeat(events)),
        pytest.raises(OSError, match="no space left"),
    ):
        each_role(TASK, history, _end(), take_rows)


def test_interrupted_twice_the_lock_is_held_until_both_views_have_stopped(tmp_path: Path) -> None:
    """Ctrl-C frees the lock only when nobody writes any more, also when it comes again."""
    lock = tmp_path / "writer.lock"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.features.endless_activity", str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in ROLES] == ["writing\n"] * 2
        child.send_signal(signal.SIGINT)
        assert [child.stdout.readline() for _ in ROLES] == ["stopping\n"] * 2
        child.send_signal(signal.SIGINT)
        with pytest.raises(StateError), hold_file(lock, place="features", remedy=""):
            pass
        child.stdin.write("go")
        child.stdin.flush()
        assert child.stdout.read().splitlines() == ["stopped", "stopped", "freed"]
    assert child.returncode == -signal.SIGINT


def _mention(number: int, subject: str = "s") -> KnownMention:
    mention = Mention(
        mention_id=f"m{number}", subject_id=subject, source_id="a", text="fine", published_at=START
    )
    return KnownMention(mention, START + timedelta(seconds=number))


def _end() -> datetime:
    return START + timedelta(hours=1)
