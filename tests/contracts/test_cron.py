"""Times of schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.cron import Cron

NOW = datetime(2026, 3, 4, 12, 34, 56, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "latest"),
    [
        ("* * * * *", "2026-03-04T12:34"),
        ("*/10 * * * *", "2026-03-04T12:30"),
        ("34 12 * * *", "2026-03-04T12:34"),
        ("35 12 * * *", "2026-03-03T12:35"),
        ("0 3 * * 1", "2026-03-02T03:00"),
        ("0 3 * * mon-fri", "2026-03-04T03:00"),
        ("0 3 * * 7", "2026-03-01T03:00"),
        ("0 3 * * 0", "2026-03-01T03:00"),
        ("5,50 9-17/4 * * *", "2026-03-04T09:50"),
        ("0 0 1 jan *", "2026-01-01T00:00"),
        ("0 0 29 2 *", "2024-02-29T00:00"),
        ("0 0 31 * *", "2026-01-31T00:00"),
        # Days of the month and of the week, if both are given, are either.
        ("0 0 1 * tue", "2026-03-03T00:00"),
    ],
)
def test_the_last_time_it_was_due(text: str, latest: str) -> None:
    """The last moment up to now, in UTC, as cron(8) has it."""
    assert Cron.parse(text).latest(NOW) == datetime.fromisoformat(f"{latest}+00:00")


def test_each_minute_agrees_with_the_last_time() -> None:
    """What is due at a moment is its own last time; between two times nothing else is."""
    cron = Cron.parse("*/7 1-3 * * 2,4")
    moments = [NOW.replace(second=0, microsecond=0) + timedelta(minutes=i) for i in range(4_000)]
    due = [moment for moment in moments if cron.latest(moment) == moment]
    assert len(due) == 3 * 9  # of one Thursday
    assert all(moment.hour in {1, 2, 3} and moment.minute % 7 == 0 for moment in due)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 3 * *", "five fields"),
        ("60 3 * * *", "minutes between 0 and 59"),
        ("0 3 * * 8", "days of the week between 0 and 7"),
        ("0 3 * * mo", "days of the week"),
        ("0 5-3 * * *", "hours that rises"),
        ("*/0 * * * *", "steps above 0"),
        ("*-5 * * * *", "not both"),
        ("@daily", "five fields"),
        ("0 0 31 2 *", "a day that the calendar has"),
        ("0 0 ² * *", "days of the month"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, words: str) -> None:
    """The error says what was expected, and of which field."""
    with pytest.raises(ValueError, match=words):
        Cron.parse(text)
