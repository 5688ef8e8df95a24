"""An event log in memory, for tests of what stands around a log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from feature_pipeline.definition.records import KnownEvent, KnownMention
from feature_pipeline.eventlog.clock import Clock, from_micros, utc_now
from feature_pipeline.eventlog.history_rows import label_rows, mention_rows
from feature_pipeline.eventlog.identity import HeldLedger, settle_batch
from feature_pipeline.eventlog.port import (
    Entry,
    LogBatch,
    Receipt,
    ahead,
    not_empty,
    routes,
    trimmed,
    unacknowledged,
)
from shared.events import EARLIEST, Label, Mention


class MemoryEventLog:
    """Holds to the promises of ``EventLog`` as long as the process lives."""

    def __init__(self, partitions: int = 2, clock: Clock = utc_now) -> None:
        self.partitions = partitions
        self._clock = clock
        self._entries: list[list[Entry]] = [[] for _ in range(partitions)]
        self._trimmed = [0] * partitions
        self._acknowledged = [0] * partitions
        self._ledger = HeldLedger()
        self._latest = EARLIEST

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        receipts, recorded = settle_batch(self._ledger, events, self._latest, self._clock)
        for event in recorded:
            self._latest = event.known_at
            self._record(event)
        return receipts

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """See ``EventLog``."""
        if entries := sum(self._last(partition) for partition in range(self.partitions)):
            raise not_empty(entries)
        self._ledger = HeldLedger(
            keys={name: (subject, source) for name, subject, source in mention_rows(mentions)},
            labels={
                name: (label, from_micros(known_at)) for name, label, known_at in label_rows(labels)
            },
        )
        self._latest = watermark

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        self._latest = max(self._latest, self._clock())

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        if after < self._trimmed[partition]:
            raise trimmed(partition, after, self._trimmed[partition] + 1)
        if after > self._last(partition):
            raise ahead(partition, after, self._last(partition))
        waiting = [entry for entry in self._entries[partition] if entry.position > after]
        entries = tuple(waiting[:limit])
        complete = len(entries) == len(waiting)
        return LogBatch(
            partition=partition,
            entries=entries,
            position=entries[-1].position if entries else after,
            watermark=self._latest if complete else entries[-1].event.known_at,
        )

    def acknowledge(self, partition: int, position: int) -> None:
        """See ``EventLog``."""
        if position > self._last(partition):
            raise ahead(partition, position, self._last(partition))
        self._acknowledged[partition] = max(self._acknowledged[partition], position)

    def backlog(self) -> int:
        """See ``EventLog``."""
        lasts = sum(self._last(partition) for partition in range(self.partitions))
        return lasts - sum(self._acknowledged)

    def acknowledged(self, partition: int) -> range:
        """See ``EventLog``."""
        return range(self._trimmed[partition] + 1, self._acknowledged[partition] + 1)

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        if before - 1 > self._acknowledged[partition]:
            raise unacknowledged(partition, before, self._acknowledged[partition])
        kept = [entry for entry in self._entries[partition] if entry.position >= before]
        self._entries[partition] = kept
        self._trimmed[partition] = max(self._trimmed[partition], before - 1)

    def size(self) -> int:
        """See ``EventLog``."""
        return sum(len(entries) for entries in self._entries)

    def close(self) -> None:
        """See ``EventLog``."""

    def _last(self, partition: int) -> int:
        return self._trimmed[partition] + len(self._entries[partition])

    def _record(self, event: KnownEvent) -> None:
        keys = event.mention if isinstance(event, KnownMention) else event
        for partition, roles in routes(keys.subject_id, keys.source_id, self.partitions).items():
            position = self._last(partition) + 1
            self._entries[partition].append(Entry(partition, position, roles, event))
