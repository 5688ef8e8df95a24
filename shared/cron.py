"""When something is due: five fields as cron(8) has them, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_ITEM = re.compile(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/(\d{1,2}))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_GAP_DAYS = 8 * 366
"""Between two 29ths of February, around a year that has none by the century's rule."""


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        values: set[int] = set()
        for item in text.lower().split(","):
            match = _ITEM.fullmatch(item)
            if match is None:
                raise ValueError(f"{self.name} such as '*', '5', '1-5', '*/2' or '1,3'")
            begin, end, step = match.groups()
            if begin == "*":
                if end is not None:
                    raise ValueError(f"{self.name} such as '*' or '1-5', not both")
                low, high = self.first, self.last
            else:
                low = self._number(begin)
                # As in cron, '5/10' goes on to the end.
                high = self._number(end) if end else (self.last if step else low)
            if low > high or step == "0":
                raise ValueError(f"{self.name} that rises, by steps above 0")
            values.update(range(low, high + 1, int(step or 1)))
        return frozenset(values)

    def _number(self, text: str) -> int:
        if text in self.words:
            return self.words.index(text) + (self.first if self.name == "months" else 0)
        if not text.isdigit() or not self.first <= int(text) <= self.last:
            raise ValueError(f"{self.name} between {self.first} and {self.last}")
        return int(text)


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("days of the month", 1, 31),
    _Field("months", 1, 12, _MONTHS),
    _Field("days of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """Moments at which something is due. Days of month and week, if both are given, are either."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read five fields: minute, hour, day of month, month, day of week.

        >>> Cron.parse("0 3 * * mon").latest(datetime(2026, 1, 7, 12))
        datetime.datetime(2026, 1, 5, 3, 0)

        Raises:
            ValueError: they are not such fields, or name a day that no calendar has.
        """
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"five fields, as in '0 3 * * 1', not {len(parts)}")
        parsed = [field.parse(part) for field, part in zip(_FIELDS, parts, strict=True)]
        minutes, hours, days, months, weekdays = parsed
        cron = cls(
            minutes=minutes,
            hours=hours,
            days=days,
            months=months,
            weekdays=frozenset(day % len(_DAYS) for day in weekdays),
            any_day=parts[2].startswith("*"),
            any_weekday=parts[4].startswith("*"),
        )
        if cron._latest(datetime(2100, 1, 1)) is None:  # noqa: DTZ001 - any calendar will do
            raise ValueError("a day that the calendar has")
        return cron

    def latest(self, now: datetime) -> datetime:
        """Return the last moment at which it was due, up to and with now."""
        found = self._latest(now)
        assert found is not None, "checked when it was read"  # noqa: S101 - see parse
        return found

    def _latest(self, now: datetime) -> datetime | None:
        for back in range(_LONGEST_GAP_DAYS):
            day = now.date() - timedelta(days=back)
            if not self._on(day.day, day.month, day.isoweekday() % len(_DAYS)):
                continue
            for hour in sorted(self.hours, reverse=True):
                for minute in sorted(self.minutes, reverse=True):
                    moment = datetime.combine(day, time(hour, minute), tzinfo=now.tzinfo)
                    if moment <= now:
                        return moment
        return None

    def _on(self, day: int, month: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        on_day, on_weekday = day in self.days, weekday in self.weekdays
        if self.any_day or self.any_weekday:
            return on_day and on_weekday
        return on_day or on_weekday
