"""The arithmetic of the sliding windows, against a plain count over all events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipeline.definition.activity import EVENT_SCHEMA, ActivityState, advance
from shared.features import KNOWN_AT
from shared.task import Task, Window
from tests.features.conftest import START, small_task

TASK = small_task()
COUNTS = [f"{what}_{window}" for window in ("60s", "10m") for what in ("mentions", "bad", "good")]


class Happened(NamedTuple):
    """A row of EVENT_SCHEMA."""

    known_at: datetime
    key: str
    label: str | None = None
    previous_label: str | None = None
    previous_known_at: datetime | None = None


def table(events: list[Happened]) -> pl.DataFrame:
    return pl.DataFrame(events, schema=EVENT_SCHEMA, orient="row")


def run(events: list[Happened], watermark: datetime, task: Task = TASK) -> pl.DataFrame:
    return advance(task, ActivityState.empty(task), table(events), watermark)[1]


def leaves(moment: datetime, window: Window) -> datetime:
    """Return when a window forgets a moment: at the end of the moment's tile plus its length."""
    tiles = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // window.tile
    return datetime(1970, 1, 1, tzinfo=UTC) + (tiles + 1) * window.tile + window.length


def counted_at(events: list[Happened], key: str, now: datetime) -> dict[str, int]:
    """Return the counts of a key by looking at every event: the definition, without deltas."""
    mine = [event for event in events if event.key == key and event.known_at <= now]
    withdrawn = {
        (event.previous_label, event.previous_known_at) for event in mine if event.previous_label
    }
    counts = dict.fromkeys(COUNTS, 0)
    for event in mine:
        for window in TASK.activity.spans:
            if leaves(event.known_at, window) <= now:
                continue
            if event.label is None:
                counts[f"mentions_{window.name}"] += 1
            elif (event.label, event.known_at) not in withdrawn:
                counts[f"{event.label}_{window.name}"] += 1
    return counts


@st.composite
def streams(draw: st.DrawFn) -> list[Happened]:
    """Draw mentions, labels and corrections on a few keys, at rising times around tile bounds."""
    gaps = draw(
        st.lists(st.sampled_from([1, 999_999, 1_000_000, 7_000_000, 60_000_000]), max_size=40)
    )
    now, events = START, list[Happened]()
    current: dict[tuple[str, int], tuple[str, datetime]] = {}
    for gap in gaps:
        now += timedelta(microseconds=gap)
        key = draw(st.sampled_from("ab"))
        if draw(st.booleans()):
            events.append(Happened(now, key))
            continue
        number = draw(st.integers(0, 2))
        label = draw(st.sampled_from(TASK.labels))
        previous = current.get((key, number))
        if previous is None:
            events.append(Happened(now, key, label))
        elif previous[0] != label:
            events.append(Happened(now, key, label, *previous))
        else:
            continue
        current[key, number] = (label, now)
    return events


@given(streams())
def test_changelog_equals_a_plain_count(events: list[Happened]) -> None:
    """At every moment at which anything changes, the changelog tells what counting tells."""
    end = START + timedelta(hours=1)
    changelog = run(events, end)
    for row in changelog.iter_rows(named=True):
        wanted = counted_at(events, row["key"], row[KNOWN_AT])
        assert {name: row[name] for name in COUNTS} == wanted
    moments = {(event.key, event.known_at) for event in events}
    assert moments <= set(changelog.select("key", KNOWN_AT).iter_rows())


@given(streams(), st.lists(st.integers(0, 3_000), max_size=5))
def test_cuts_do_not_matter(events: list[Happened], cuts: list[int]) -> None:
    """Advancing in pieces, the state stored between them, gives the rows of advancing once."""
    end = START + timedelta(hours=1)
    whole = run(events, end)
    marks = [*sorted(START + timedelta(seconds=cut) for cut in cuts), end]
    state, pieces = ActivityState.empty(TASK), []
    for mark in marks:
        part = [event for event in events if state.watermark < event.known_at <= mark]
        state = ActivityState.from_bytes(state.to_bytes())
        state, rows = advance(TASK, state, table(part), mark)
        pieces.append(rows)
    assert pl.concat(pieces).sort("key", KNOWN_AT).equals(whole.sort("key", KNOWN_AT))


def test_idle_key_decays_to_zero() -> None:
    """A key that nothing happens to any more goes back to zero, window by window.

    ::

        mention   12:00:05
        60s       |=======| 12:01:10        (its 10 s tile ends at 12:00:10)
        10m       |===================| 12:11:00
    """
    moment = START + timedelta(seconds=5)
    rows = run([Happened(moment, "a")], START + timedelta(hours=1))
    told = rows.select(KNOWN_AT, "mentions_60s", "mentions_10m").rows()
    assert told == [
        (moment, 1, 1),
        (START + timedelta(seconds=70), 0, 1),
        (START + timedelta(minutes=11), 0, 0),
    ]


def test_correction_moves_a_label() -> None:
    """A corrected label counts for the new class only, and the share follows."""
    first, second = START + timedelta(seconds=1), START + timedelta(seconds=2)
    rows = run(
        [Happened(first, "a", "bad"), Happened(second, "a", "good", "bad", first)],
        START + timedelta(seconds=3),
    )
    assert rows.select("bad_60s", "good_60s", "share_good_60s").rows() == [(1, 0, 0.0), (0, 1, 1.0)]


def test_first_and_last_seen_follow_mentions_only() -> None:
    """Labels and expiries leave first and last seen alone."""
    first, second = START + timedelta(seconds=1), START + timedelta(seconds=30)
    rows = run(
        [Happened(first, "a"), Happened(second, "a"), Happened(second + timedelta(1), "a", "bad")],
        START + timedelta(days=2),
    )
    assert set(rows["first_seen"]) == {first}
    assert rows["last_seen"].to_list() == [first, *[second] * (rows.height - 1)]


def test_events_outside_the_watermarks_are_refused() -> None:
    """An event that the watermark has passed is an error of the caller, never a wrong count."""
    state, _ = advance(TASK, ActivityState.empty(TASK), table([]), START)
    with pytest.raises(ValueError, match="do not lie after"):
        advance(TASK, state, table([Happened(START, "a")]), START + timedelta(seconds=1))
    with pytest.raises(ValueError, match="went back"):
        advance(TASK, state, table([]), START - timedelta(seconds=1))
