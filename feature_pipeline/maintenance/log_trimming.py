"""Trimming of the event log by age."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime

from feature_pipeline.eventlog.port import EventLog


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
        LogUnavailableError: the log does not answer.
    """
    return sum(_trim(log, partition, moment, dry_run) for partition in range(log.partitions))


def _trim(log: EventLog, partition: int, moment: datetime, dry_run: bool) -> int:  # noqa: FBT001 - private
    positions = log.acknowledged(partition)

    def known_at(position: int) -> datetime:
        return log.read(partition, position - 1, limit=1).entries[0].event.known_at

    old = bisect_left(positions, moment, key=known_at)
    if old and not dry_run:
        log.trim(partition, before=positions[0] + old)
    return old
