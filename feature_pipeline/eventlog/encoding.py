"""Recorded events as text, the same in every log that keeps them outside this process.

An event is a JSON list that begins with its kind. What is read was checked before it was written,
so it is put together again without a second check: that is most of the speed of reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.eventlog.clock import from_micros, to_micros
from shared.events import Label, Mention
from shared.features import Role

FORMAT = 1
"""Kept beside the entries of a log; another number is refused."""

_MENTION, _LABEL = "m", "l"
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_CODES: dict[frozenset[Role], int] = {
    frozenset[Role](("subject",)): 1,
    frozenset[Role](("source",)): 2,
    frozenset[Role](("subject", "source")): 3,
}
_ROLES = {code: roles for roles, code in _CODES.items()}


def encode_event(event: KnownEvent) -> str:
    """Return an event as text; times are microseconds since 1970."""
    known_at = to_micros(event.known_at)
    if isinstance(event, KnownMention):
        mention = event.mention
        return _write(
            [
                _MENTION,
                known_at,
                mention.mention_id,
                mention.subject_id,
                mention.source_id,
                mention.text,
                to_micros(mention.published_at),
                mention.language,
                mention.url,
            ]
        )
    label, previous = event.label, event.previous_known_at
    return _write(
        [
            _LABEL,
            known_at,
            label.mention_id,
            label.label,
            to_micros(label.labelled_at),
            label.annotator,
            event.subject_id,
            event.source_id,
            event.previous_label,
            None if previous is None else to_micros(previous),
        ]
    )


def decode_event(text: str | bytes) -> KnownEvent:
    """Return the event that ``encode_event`` made text of."""
    return _event(*json.loads(text))


def decode_events(texts: Iterable[str]) -> list[KnownEvent]:
    """Return the events of many texts, faster than one by one."""
    return [_event(*fields) for fields in json.loads(f"[{','.join(texts)}]")]


def _event(kind: str, known_at: int, mention_id: str, *rest: Any) -> KnownEvent:
    if kind == _MENTION:
        subject_id, source_id, words, published_at, language, url = rest
        mention = Mention.model_construct(
            mention_id=mention_id,
            subject_id=subject_id,
            source_id=source_id,
            text=words,
            published_at=from_micros(published_at),
            language=language,
            url=url,
        )
        return KnownMention(mention, from_micros(known_at))
    value, labelled_at, annotator, subject_id, source_id, previous_label, previous = rest
    label = Label.model_construct(
        mention_id=mention_id,
        label=value,
        labelled_at=from_micros(labelled_at),
        annotator=annotator,
    )
    return KnownLabel(
        label=label,
        known_at=from_micros(known_at),
        subject_id=subject_id,
        source_id=source_id,
        previous_label=previous_label,
        previous_known_at=None if previous is None else from_micros(previous),
    )


def encode_roles(roles: frozenset[Role]) -> int:
    """Return an entry's roles as a number."""
    return _CODES[roles]


def decode_roles(code: int) -> frozenset[Role]:
    """Return the roles that ``encode_roles`` made a number of."""
    return _ROLES[code]
