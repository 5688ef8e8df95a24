"""Identity of events: what is new, what was said before, and what corrects what."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.port import Receipt, unknown_mention
from shared.events import Label, Mention

ACCEPTED = Receipt("accepted")
DUPLICATE = Receipt("duplicate")


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
