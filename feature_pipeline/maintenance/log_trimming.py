"""Trimming of the event log by age."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime

from feature_pipeline.eventlog.port import EventLog, LogUnavailableError


def trim_before(log: EventLog, moment: datetime, *, dry_run: bool = False) -> int:
    """Forget the entries that were known before a moment and are acknowledged.

    The rest stays: a stream worker would ask for it after a crash.

    Args:
        log: the event log.
        moment: entries known from then on stay.
        dry_run: forget nothing.

    Returns:
        The number of entries over all partitions.

    Raises:
        LogUnavailableError: the log does not answer, or is slow to send an entry; what was
            forgotten by then, in other partitions, stays so.
    """
    return sum(_trim(log, partition, moment, dry_run) for partition in range(log.partitions))


def _trim(log: EventLog, partition: int, moment: datetime, dry_run: bool) -> int:  # noqa: FBT001 - private
    positions = log.acknowledged(partition)

    def known_at(position: int) -> datetime:
        entries = log.read(partition, position - 1, limit=1).entries
        if not entries:
            raise LogUnavailableError(
                f"event log, partition {partition}",
                expected=f"the entry at position {position}",
                found="none that came in time",
                remedy="See that the log's server is not overloaded, and trim again.",
            )
        return entries[0].event.known_at

    old = bisect_left(positions, moment, key=known_at)
    if old and not dry_run:
        log.trim(partition, before=positions[0] + old)
    return old
