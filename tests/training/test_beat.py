"""Scheduled runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.schedules import Schedule
from tests.training.outbox import Outbox
from training_pipeline.service.beat import Calendar
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.memory import MemoryRunStore

MONDAY = datetime(2026, 1, 5, 3, 0, 20, tzinfo=UTC)
WEEKLY = Schedule(cron="0 3 * * 1", reason="weekly", queue="gpu", overrides={"epochs": 2})
HOURLY = Schedule(cron="30 * * * *")
MINUTE = timedelta(minutes=1)


@dataclass
class Office:
    """A run store that several calendars post to, each with a file of its own."""

    folder: Path
    store: MemoryRunStore = field(default_factory=MemoryRunStore)
    outbox: Outbox = field(default_factory=Outbox)

    def calendar(self, *schedules: Schedule, file: str = "beat.json") -> Calendar:
        """Return a calendar, as a beat that starts has it."""
        return Calendar(schedules, Dispatch(self.store, self.outbox), self.folder / file)

    def reasons(self) -> list[str]:
        """Return the reasons of all runs, the oldest first."""
        return [run.reason for run in reversed(self.store.newest(99))]


def test_each_due_time_asks_once(tmp_path: Path) -> None:
    """A run comes with what its schedule says, however often the calendar is looked at."""
    office = Office(tmp_path)
    calendar = office.calendar(WEEKLY, HOURLY)
    for minute in range(-10, 45):
        calendar.ask(MONDAY + minute * MINUTE)
        calendar.ask(MONDAY + minute * MINUTE)
    assert office.reasons() == ["weekly", "asked for by the schedule"]
    weekly = office.store.newest(2)[1]
    assert (weekly.queue, weekly.overrides) == ("gpu", {"epochs": 2})
    assert weekly.created_at == MONDAY
    assert office.outbox.sent == [run.run_id for run in reversed(office.store.newest(2))]


def test_two_beats_ask_once(tmp_path: Path) -> None:
    """They know nothing of each other; the run store does."""
    office = Office(tmp_path)
    beats = [office.calendar(WEEKLY, file=f"{i}.json") for i in range(2)]
    for minute in range(-2, 3):
        for beat in beats:
            beat.ask(MONDAY + minute * MINUTE)
    assert office.reasons() == ["weekly"]


def test_a_beat_that_was_away_makes_up_for_it_once(tmp_path: Path) -> None:
    """Of the times it missed the last one counts; a start before the next asks for nothing."""
    office = Office(tmp_path)
    office.calendar(HOURLY).ask(MONDAY)
    office.calendar(HOURLY).ask(MONDAY + 10 * MINUTE)
    assert office.reasons() == []
    office.calendar(HOURLY).ask(MONDAY + timedelta(days=2))
    office.calendar(HOURLY).ask(MONDAY + timedelta(days=2))
    assert len(office.reasons()) == 1


def test_a_new_schedule_begins_with_its_next_time(tmp_path: Path) -> None:
    """Neither a first start nor a schedule that is added asks for what was due before."""
    office = Office(tmp_path)
    office.calendar(WEEKLY).ask(MONDAY + timedelta(days=1))
    office.calendar(WEEKLY, HOURLY).ask(MONDAY + timedelta(days=1, minutes=40))
    assert office.reasons() == []


def test_a_state_that_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    """It goes on from memory, and leaves nothing half written; the next one asks for no more."""
    office = Office(tmp_path)
    calendar = office.calendar(HOURLY)
    calendar.ask(MONDAY)
    (tmp_path / "beat.json").unlink()
    (tmp_path / "beat.json").mkdir()
    for minute in (40, 41):
        calendar.ask(MONDAY + minute * MINUTE)
    assert len(office.reasons()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["beat.json"]
    (tmp_path / "beat.json").rmdir()
    calendar.ask(MONDAY + 100 * MINUTE)
    office.calendar(HOURLY).ask(MONDAY + 101 * MINUTE)
    assert len(office.reasons()) == 2


def test_a_damaged_state_stops_nobody(tmp_path: Path) -> None:
    """It is made anew, and schedules go on with their next time."""
    office = Office(tmp_path)
    (tmp_path / "beat.json").write_text('["what is this"]')
    office.calendar(HOURLY).ask(MONDAY)
    office.calendar(HOURLY).ask(MONDAY + 40 * MINUTE)
    assert len(office.reasons()) == 1
