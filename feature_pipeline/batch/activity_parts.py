"""The activity of a whole history, a part of the keys at a time.

Keys are independent of each other, and the two roles are computed side by side. Of each role the
events stand in memory, which are narrow, and what remains of the parts before: the state and the
last row of each key. The rows, of which there are many more, do so for one part only. A key is
never split, so the rows of the largest key are the least that must fit beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from feature_pipeline.batch.stopping import Stop, held_interrupts
from feature_pipeline.definition.activity import ActivityState, advance
from feature_pipeline.definition.records import role_events
from feature_pipeline.definition.transform import EventTables, States, Tables
from feature_pipeline.progress import Progress
from feature_pipeline.store.offline_tables import OfflineTables
from shared.features import ROLES, Role, activity_view, join_key
from shared.task import Task

PART_EVENTS = 500_000
"""Events after which a part takes no further key: it has fewer than so many, and those of its last
key. Smaller parts were no faster, larger took more memory."""

TakeRows = Callable[[str, Iterator[tuple[int, pl.DataFrame]]], object]
"""Takes the name of an activity view and its parts, at least one: events counted, and rows."""


@dataclass(frozen=True)
class HistoryActivity:
    """What remains of the activity of a history when its rows have been written.

    Attributes:
        states: at the watermark, of all keys.
        latest: by view, the last row of each key.
        rows: by view, how many there were.
    """

    states: States
    latest: Tables
    rows: dict[str, int]


class ActivityParts:
    """The rows of one role, by key and time; what remains of them is known when all are read."""

    def __init__(
        self,
        task: Task,
        role: Role,
        events: EventTables,
        watermark: datetime,
        *,
        part_events: int = PART_EVENTS,
        stop: Stop | None = None,
    ) -> None:
        self.rows = 0
        self._stop = stop or Stop()
        self._task = task
        self._key = join_key(role)
        self._watermark = watermark
        self._is_read = False
        self._happened: pl.DataFrame | None = role_events(role, events.mentions, events.labels)
        self._part_events = part_events
        self._states: list[ActivityState] = []
        self._latest: list[pl.DataFrame] = []

    def __iter__(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Compute a part after the other; what ``transform.activity`` gives, cut between keys.

        Returns:
            How many events a part counts, and its rows.

        Raises:
            StoppedError: told to stop. Who writes the parts as one commit, commits nothing then.
            RuntimeError: they were asked for before.
        """
        happened, self._happened = self._happened, None
        if happened is None:
            raise RuntimeError("the parts of an activity can be read once")
        # The name is given anew, which lets go of the events as they came.
        happened, sizes = _by_keys(happened, self._part_events)
        for events in _slices(happened, sizes):
            self._stop.check()
            empty = ActivityState.empty(self._task)
            state, changelog = advance(self._task, empty, events, self._watermark)
            last_of_key = pl.col("key").ne_missing(pl.col("key").shift(-1))
            self._states.append(state)
            self._latest.append(changelog.filter(last_of_key).rename({"key": self._key}))
            self.rows += changelog.height
            yield events.height, changelog.rename({"key": self._key})
        self._is_read = True

    def state(self) -> ActivityState:
        """Return the state of all keys.

        Raises:
            RuntimeError: not all parts were read.
        """
        self._check_read()
        return ActivityState(
            totals=pl.concat([state.totals for state in self._states]),
            pending=pl.concat([state.pending for state in self._states]),
            watermark=self._watermark,
            merged_rows=sum(state.merged_rows for state in self._states),
        )

    def latest(self) -> pl.DataFrame:
        """Return the last row of each key; see ``state``."""
        self._check_read()
        return pl.concat(self._latest)

    def _check_read(self) -> None:
        if not self._is_read:
            raise RuntimeError("parts of an activity were not read: what remains is not known")


def each_role(
    task: Task, events: EventTables, watermark: datetime, take_rows: TakeRows
) -> HistoryActivity:
    """Compute the rows of both activity views, each in a thread, and give them away as they come.

    Args:
        task: gives windows and labels.
        events: all of history.
        watermark: time passes up to here.
        take_rows: takes the rows of a view; it is called from two threads.

    Raises:
        KeyboardInterrupt: after both threads have ended, at their next part.
        BaseException: what ``take_rows`` raised first; the other view stops at its next part.
    """
    stop = Stop()
    failures = list[BaseException]()
    parts = {role: ActivityParts(task, role, events, watermark, stop=stop) for role in ROLES}

    def take(role: Role) -> None:
        try:
            take_rows(activity_view(role), iter(parts[role]))
        except BaseException as error:
            failures.append(error)
            stop.ask()
            raise

    # Nobody else may write before both threads have ended.
    with held_interrupts(stop), ThreadPoolExecutor(len(ROLES)) as threads:
        for role in ROLES:
            threads.submit(take, role)
    if failures:
        raise failures[0]  # what came later may be of the stop that it asked for
    return HistoryActivity(
        states={role: parts[role].state() for role in ROLES},
        latest={activity_view(role): parts[role].latest() for role in ROLES},
        rows={activity_view(role): parts[role].rows for role in ROLES},
    )


def write_activity(
    task: Task,
    events: EventTables,
    watermark: datetime,
    offline: OfflineTables,
    *,
    partitions: int,
    progress: Progress,
) -> HistoryActivity:
    """Write the activity of all of history in place of what the offline tables had.

    Args:
        task: gives windows and labels.
        events: all of history.
        watermark: time passes up to here.
        offline: one commit for each view.
        partitions: of the event log.
        progress: shows how many events were counted, each for its subject and its source.
    """
    total = len(ROLES) * (events.mentions.height + events.labels.height)
    with progress.step("Computing and writing activity", total) as counted:

        def write(view: str, parts: Iterator[tuple[int, pl.DataFrame]]) -> None:
            offline.replace(view, _told(parts, counted), watermark, partitions)

        return each_role(task, events, watermark, write)


def _told(
    parts: Iterator[tuple[int, pl.DataFrame]], counted: Callable[[int], object]
) -> Iterator[pl.DataFrame]:
    """Return rows; tell of their events when the next are asked for: these are written then."""
    for events, rows in parts:
        yield rows
        counted(events)


def _by_keys(events: pl.DataFrame, part_events: int) -> tuple[pl.DataFrame, list[int]]:
    """Return events, those of a part behind those of the one before, and the sizes of the parts.

    There is at least one part. A key belongs to the part in which its first event comes.
    """
    keys = events.group_by("key").agg(pl.len().cast(pl.Int64).alias("events")).sort("key")
    before = pl.col("events").cum_sum() - pl.col("events")
    parts = keys.with_columns((before // part_events).cast(pl.UInt32).alias("part"))
    sizes = parts.group_by("part", maintain_order=True).agg(pl.col("events").sum())["events"]
    if len(sizes) <= 1:
        return events, [events.height]
    ordered = events.join(parts.select("key", "part"), on="key").sort("part").drop("part")
    return ordered, sizes.to_list()


def _slices(events: pl.DataFrame, sizes: list[int]) -> Iterator[pl.DataFrame]:
    start = 0
    for size in sizes:
        yield events.slice(start, size)
        start += size
