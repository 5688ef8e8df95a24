"""What an event log promises. One test suite holds every implementation to it.

A mention belongs to two keys, its subject and its source, and each key has one ordered partition.
The log gives an event its known_at when it appends it, strictly increasing, and appends it to both
partitions in one transaction. It is also the place where identity is settled: a mention that was
posted before is not appended again, and a label that corrects an earlier one says which.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import polars as pl

from feature_pipeline.definition.records import KnownEvent
from shared.errors import FtiError, InputError, StateError
from shared.events import Label, Mention
from shared.features import Role


@dataclass(frozen=True)
class Entry:
    """One event in one partition.

    Attributes:
        position: 1, 2, 3, … within the partition.
        roles: whose partition this is: of the event's subject, of its source, or of both.
    """

    partition: int
    position: int
    roles: frozenset[Role]
    event: KnownEvent


@dataclass(frozen=True)
class LogBatch:
    """A run of entries, and how far the log is known to be complete with them.

    ``watermark``: no entry that comes after these will be known at or before it.
    """

    partition: int
    entries: tuple[Entry, ...]
    position: int
    watermark: datetime


@dataclass(frozen=True)
class Receipt:
    """What became of one offered event."""

    status: Literal["accepted", "duplicate", "rejected"]
    error: InputError | None = None


class LogUnavailableError(FtiError):
    """The log does not answer, or does not take what it is given, for now.

    Whoever was appending does not know whether it happened, and may ask again: what was appended
    is a duplicate then.
    """


class EventLog(Protocol):
    """A log of mentions and labels.

    Every method raises ``LogUnavailableError`` when the log cannot be reached.
    """

    @property
    def partitions(self) -> int:
        """The number of partitions, fixed when the log was made."""
        ...

    def append(self, events: Sequence[Mention | Label]) -> list[Receipt]:
        """Append events in one transaction; return a receipt for each.

        A label is rejected when its mention is unknown.
        """
        ...

    def begin_after(
        self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame
    ) -> None:
        """Tell an empty log what history holds, so that it is neither repeated nor unknown.

        Everything appended later is known after the watermark. What an earlier call told is
        replaced.

        Args:
            watermark: all of history is known by then.
            mentions: ``records.MENTION_SCHEMA`` rows, each mention once.
            labels: ``records.LABEL_SCHEMA`` rows of those mentions.

        Raises:
            StateError: events have been appended already.
        """
        ...

    def heartbeat(self) -> None:
        """Let time pass on an idle log: move every partition's watermark to now."""
        ...

    def read(self, partition: int, after: int, limit: int) -> LogBatch:
        """Return up to ``limit`` entries that follow a position (0: from the beginning).

        Raises:
            StateError: entries after that position have been trimmed away, or the log ends before
                it, as one does that lost entries or was put back from a backup.
        """
        ...

    def acknowledge(self, partition: int, position: int) -> None:
        """Take note that the reader's state up to a position is saved.

        It will not ask for earlier entries again. A lower position than before changes nothing.

        Raises:
            StateError: the log ends before that position.
        """
        ...

    def backlog(self) -> int:
        """Return the number of entries, over all partitions, that wait to be acknowledged."""
        ...

    def acknowledged(self, partition: int) -> range:
        """Return the positions of the entries that are acknowledged and not trimmed away."""
        ...

    def trim(self, partition: int, before: int) -> None:
        """Forget the entries of a partition that stand before a position.

        Raises:
            StateError: some of them have not been acknowledged; nothing is forgotten.
        """
        ...

    def size(self) -> int:
        """Return the number of entries in all partitions, trimmed ones not counted."""
        ...

    def close(self) -> None:
        """Release what the log holds."""
        ...


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key; the same on every machine and in every version."""
    return zlib.crc32(key.encode()) % partitions


def routes(subject_id: str, source_id: str, partitions: int) -> dict[int, frozenset[Role]]:
    """Return the partitions that an event goes to, with the roles that it has there."""
    subject, source = (
        partition_of(f"{role}:{key}", partitions)
        for role, key in (("subject", subject_id), ("source", source_id))
    )
    if subject == source:
        return {subject: frozenset[Role](("subject", "source"))}
    return {subject: frozenset[Role](("subject",)), source: frozenset[Role](("source",))}


def unknown_mention(label: Label) -> InputError:
    """Return the error for a label whose mention nobody has posted."""
    return InputError(
        "mention_id",
        expected="a mention that was posted or loaded before",
        found=repr(label.mention_id),
        remedy="Post the mention first, then its label.",
    )


def not_empty(entries: int) -> StateError:
    """Return the error for history that comes after events."""
    return StateError(
        "event log",
        expected="no events yet, since history is loaded before the first event",
        found=f"{entries} entries",
        remedy="Post these texts as events, or begin with a new FTI_HOME and an empty log.",
    )


def trimmed(partition: int, after: int, first: int) -> StateError:
    """Return the error for a reader whose place in the log is gone."""
    return StateError(
        f"event log, partition {partition}",
        expected=f"the entry after position {after}",
        found=f"a log that begins at position {first}",
        remedy="Events between the two are gone; rebuild the features from the offline tables.",
    )


def ahead(partition: int, position: int, last: int) -> StateError:
    """Return the error for a reader that has been further than the log goes."""
    return StateError(
        f"event log, partition {partition}",
        expected=f"a log that reaches the reader's position {position}",
        found=f"one that ends at position {last}",
        remedy="The log lost entries, or is another one; rebuild the features from the log.",
    )


def unacknowledged(partition: int, before: int, acknowledged: int) -> StateError:
    """Return the error for entries that are to be forgotten while a reader still needs them."""
    return StateError(
        f"event log, partition {partition}",
        expected=f"the entries before position {before} acknowledged by the stream",
        found=f"those up to position {acknowledged}",
        remedy="Let the stream worker catch up, or trim less.",
    )


def other_partitions(log: str, wanted: int, found: int) -> StateError:
    """Return the error for a log that was made with another number of partitions."""
    return StateError(
        log,
        expected=f"{wanted} partitions",
        found=f"{found}",
        remedy="The number is fixed when a log is made; set it back.",
    )


def other_format(log: str, wanted: int, found: int) -> StateError:
    """Return the error for a log whose entries another version of this software wrote."""
    return StateError(
        log,
        expected=f"entries of format {wanted}",
        found=f"format {found}",
        remedy="Use the version that wrote it, or begin with a new FTI_HOME and an empty log.",
    )
