"""What the event log holds after given positions, up to one watermark over all partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.definition.records import KnownLabel, KnownMention
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.eventlog.port import Entry, EventLog
from shared.errors import StateError
from shared.features import KNOWN_AT

_READ_LIMIT = 10_000
_ENTRY_SCHEMA = pl.Schema({"position": pl.Int64(), KNOWN_AT: MOMENT})


@dataclass(frozen=True)
class LogTail:
    """Entries after given positions.

    Attributes:
        events: by partition, the mentions and labels whose subject it is the partition of. Over
            all partitions each event stands here once.
        positions: by partition, that of the last entry known at or before the watermark.
        watermark: what was known up to here in any partition has been read.
    """

    events: Mapping[int, EventTables]
    positions: Mapping[int, int]
    watermark: datetime

    def all_events(self) -> EventTables:
        """Return the events of all partitions."""
        return _joined(self.events.values())


def read_tail(
    log: EventLog, after: Mapping[int, int], on_entries: Callable[[int], object]
) -> LogTail:
    """Read a log to its end, as it is now.

    Args:
        log: others may append to it meanwhile.
        after: the position in each partition after which to begin; 0 where there is none.
        on_entries: told how many entries were read, as it goes.

    Raises:
        StateError: entries after those positions have been trimmed away, or the partitions are
            not all known up to where they were trimmed.
    """
    parts = range(log.partitions)
    read = {part: _read(log, part, after.get(part, 0), on_entries) for part in parts}
    watermark = min(rest.complete_to for rest in read.values())
    events, positions = {}, {}
    for part, rest in read.items():
        events[part] = _until(rest.events, watermark)
        known = rest.entries.filter(pl.col(KNOWN_AT) <= watermark)["position"]
        positions[part] = after.get(part, 0) if known.is_empty() else int(known[-1])
        _check_kept(log, part, positions[part])
    return LogTail(events, positions, watermark)


def begins(log: EventLog) -> dict[int, int]:
    """Return, by partition, the position after which a log still holds all entries."""
    return {part: log.acknowledged(part).start - 1 for part in range(log.partitions)}


@dataclass(frozen=True)
class _Rest:
    """The rest of one partition: events of its subjects, and where and when each entry was."""

    events: EventTables
    entries: pl.DataFrame
    complete_to: datetime


def _read(log: EventLog, partition: int, after: int, on_entries: Callable[[int], object]) -> _Rest:
    events, entries = [EventTables.of([], [])], [_ENTRY_SCHEMA.to_frame()]
    while True:
        batch = log.read(partition, after, _READ_LIMIT)
        events.append(_event_tables(batch.entries))
        rows = [(entry.position, entry.event.known_at) for entry in batch.entries]
        entries.append(pl.DataFrame(rows, schema=_ENTRY_SCHEMA, orient="row"))
        on_entries(len(rows))
        after = batch.position
        if len(rows) < _READ_LIMIT:
            return _Rest(_joined(events), pl.concat(entries), batch.watermark)


def _event_tables(entries: Sequence[Entry]) -> EventTables:
    events = [entry.event for entry in entries if "subject" in entry.roles]
    return EventTables.of(
        [event for event in events if isinstance(event, KnownMention)],
        [event for event in events if isinstance(event, KnownLabel)],
    )


def _joined(events: Iterable[EventTables]) -> EventTables:
    parts = list(events)
    return EventTables(
        pl.concat([part.mentions for part in parts]), pl.concat([part.labels for part in parts])
    )


def _until(events: EventTables, moment: datetime) -> EventTables:
    known = pl.col(KNOWN_AT) <= moment
    return EventTables(events.mentions.filter(known), events.labels.filter(known))


def _check_kept(log: EventLog, partition: int, position: int) -> None:
    """Check that a stream can go on after a position."""
    begin = begins(log)[partition]
    if position < begin:
        raise StateError(
            f"event log, partition {partition}",
            expected=f"a log that is known to be complete up to position {begin}",
            found=f"up to {position}",
            remedy="Let time pass on the log (the gateway does), and run it again.",
        )
