"""Identity of events: what is new, what was said before, and what corrects what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.clock import Clock
from feature_pipeline.eventlog.port import Receipt, unknown_mention
from shared.events import Label, Mention

ACCEPTED = Receipt("accepted")
DUPLICATE = Receipt("duplicate")
_STEP = timedelta(microseconds=1)


class Ledger(Protocol):
    """What a log remembers of the events that it holds."""

    def keys_of(self, mention_id: str) -> tuple[str, str] | None:
        """Return subject and source of a known mention."""
        ...

    def label_of(self, mention_id: str) -> tuple[str, datetime] | None:
        """Return the current label of a mention, and when it became known."""
        ...


def settle(
    ledger: Ledger, event: Mention | Label, known_at: datetime
) -> tuple[Receipt, KnownEvent | None]:
    """Decide what becomes of an event that would be known at a moment.

    Returns:
        A receipt, and the event to record if there is one: none for a duplicate (a known mention,
        or a label that repeats the current one) and for a rejected event.
    """
    keys = ledger.keys_of(event.mention_id)
    if isinstance(event, Mention):
        if keys is not None:
            return DUPLICATE, None
        return ACCEPTED, KnownMention(event, known_at)
    if keys is None:
        return Receipt("rejected", unknown_mention(event)), None
    current = ledger.label_of(event.mention_id)
    if current is not None and current[0] == event.label:
        return DUPLICATE, None
    previous_label, previous_known_at = current or (None, None)
    return ACCEPTED, KnownLabel(
        label=event,
        known_at=known_at,
        subject_id=keys[0],
        source_id=keys[1],
        previous_label=previous_label,
        previous_known_at=previous_known_at,
    )


@dataclass
class HeldLedger:
    """A ledger in memory: of all mentions, or of those that a batch of events is about.

    Attributes:
        keys: subject and source by mention.
        labels: the current label by mention, and when it became known.
    """

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    labels: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def keys_of(self, mention_id: str) -> tuple[str, str] | None:
        """See ``Ledger``."""
        return self.keys.get(mention_id)

    def label_of(self, mention_id: str) -> tuple[str, datetime] | None:
        """See ``Ledger``."""
        return self.labels.get(mention_id)

    def remember(self, event: KnownEvent) -> None:
        """Take note of an event that is recorded."""
        if isinstance(event, KnownMention):
            mention = event.mention
            self.keys[mention.mention_id] = (mention.subject_id, mention.source_id)
        else:
            self.labels[event.label.mention_id] = (event.label.label, event.known_at)


def settle_batch(
    ledger: HeldLedger, events: Sequence[Mention | Label], latest: datetime, clock: Clock
) -> tuple[list[Receipt], list[KnownEvent]]:
    """Settle events one after the other; the ledger knows of them afterwards.

    Args:
        ledger: what the log remembers of the events' mentions.
        events: what was offered.
        latest: everything recorded is known after it, each event after the one before.
        clock: tells when events are known, as long as that is later.

    Returns:
        A receipt for each event, and the events to record in order of known_at.
    """
    receipts: list[Receipt] = []
    recorded: list[KnownEvent] = []
    for event in events:
        receipt, known = settle(ledger, event, max(clock(), latest + _STEP))
        if known is not None:
            latest = known.known_at
            ledger.remember(known)
            recorded.append(known)
        receipts.append(receipt)
    return receipts, recorded
