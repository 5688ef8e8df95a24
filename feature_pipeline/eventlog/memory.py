"""An event log in memory, for tests of what stands around a log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.clock import Clock, utc_now
from feature_pipeline.eventlog.identity import settle
from feature_pipeline.eventlog.port import Entry, LogBatch, Receipt, not_empty, routes, trimmed
from shared.events import EARLIEST, Label, Mention


class MemoryEventLog:
    """Holds to the promises of ``EventLog`` as long as the process lives."""

    def __init__(self, partitions: int = 2, clock: Clock = utc_now) -> None:
        self.partitions = partitions
        self._clock = clock
        self._entries: list[list[Entry]] = [[] for _ in range(partitions)]
        self._trimmed = [0] * partitions
        self._keys: dict[str, tuple[str, str]] = {}
        self._labels: dict[str, tuple[str, datetime]] = {}
        self._latest = EARLIEST

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """See ``EventLog``."""
        receipts = []
        for event in events:
            receipt, known = settle(self, event, self._next_moment())
            if known is not None:
                self._latest = known.known_at
                self._remember(known)
                self._record(known)
            receipts.append(receipt)
        return receipts

    def begin_after(
        self, watermark: datetime, mentions: Sequence[KnownMention], labels: Sequence[KnownLabel]
    ) -> None:
        """See ``EventLog``."""
        if self.size():
            raise not_empty(self.size())
        self._keys.clear()
        self._labels.clear()
        self._latest = watermark
        for mention in mentions:
            self._remember(mention)
        for label in labels:
            self._remember(label)

    def heartbeat(self) -> None:
        """See ``EventLog``."""
        self._latest = max(self._latest, self._clock())

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """See ``EventLog``."""
        if after < self._trimmed[partition]:
            raise trimmed(partition, after, self._trimmed[partition] + 1)
        waiting = [entry for entry in self._entries[partition] if entry.position > after]
        entries = tuple(waiting[:limit])
        complete = len(entries) == len(waiting)
        return LogBatch(
            partition=partition,
            entries=entries,
            position=entries[-1].position if entries else after,
            watermark=self._latest if complete else entries[-1].event.known_at,
        )

    def trim(self, partition: int, before: int) -> None:
        """See ``EventLog``."""
        last = self._trimmed[partition] + len(self._entries[partition])
        kept = [entry for entry in self._entries[partition] if entry.position >= before]
        self._entries[partition] = kept
        self._trimmed[partition] = max(self._trimmed[partition], min(last, before - 1))

    def size(self) -> int:
        """See ``EventLog``."""
        return sum(len(entries) for entries in self._entries)

    def close(self) -> None:
        """See ``EventLog``."""

    def keys_of(self, mention_id: str) -> tuple[str, str] | None:
        """See ``Ledger``."""
        return self._keys.get(mention_id)

    def label_of(self, mention_id: str) -> tuple[str, datetime] | None:
        """See ``Ledger``."""
        return self._labels.get(mention_id)

    def _next_moment(self) -> datetime:
        return max(self._clock(), self._latest + timedelta(microseconds=1))

    def _remember(self, event: KnownEvent) -> None:
        if isinstance(event, KnownMention):
            mention = event.mention
            self._keys[mention.mention_id] = (mention.subject_id, mention.source_id)
        else:
            self._labels[event.label.mention_id] = (event.label.label, event.known_at)

    def _record(self, event: KnownEvent) -> None:
        keys = event.mention if isinstance(event, KnownMention) else event
        for partition, roles in routes(keys.subject_id, keys.source_id, self.partitions).items():
            position = self._trimmed[partition] + len(self._entries[partition]) + 1
            self._entries[partition].append(Entry(partition, position, roles, event))
