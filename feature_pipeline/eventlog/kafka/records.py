"""What the records of a log on Kafka say.

The log's topic holds events, as every log encodes them, and marks that let time pass. Kafka's
offsets have gaps where transactions end, so each record tells in a header how many entries its
partition has up to it: for an event that is its position.

The ledger's topic holds one record a mention, one a label, and the log's clock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Message

from feature_pipeline.definition.records import KnownEvent, KnownMention
from feature_pipeline.eventlog.clock import from_micros, to_micros
from feature_pipeline.eventlog.encoding import FORMAT, decode_event, decode_roles, encode_roles
from feature_pipeline.eventlog.port import Entry, other_format
from shared.errors import StateError
from shared.features import Role

Headers = list[tuple[str, str | bytes | None]]

CLOCK = b"clock"
BEGIN = b"begin"
"""What the ledger held before this record is forgotten."""
_MENTION, _LABEL = b"m:", b"l:"


@dataclass(frozen=True)
class Mark:
    """Time that passed: no later entry of the partition is known at or before the watermark."""

    position: int
    watermark: datetime


@dataclass(frozen=True)
class LogClock:
    """How far a log is; the last record of every transaction.

    Attributes:
        latest: everything appended later is known after it, in microseconds since 1970.
        lasts: the last position in each partition.
        loading: whether history is being told: the ledger is not whole.
    """

    latest: int
    lasts: tuple[int, ...]
    loading: bool = False

    @classmethod
    def new(cls, partitions: int) -> LogClock:
        """Return the clock of an empty log."""
        return cls(0, (0,) * partitions)

    def encode(self) -> bytes:
        """Return the clock as a record's value."""
        return json.dumps(
            {
                "format": FORMAT,
                "latest": self.latest,
                "lasts": self.lasts,
                "loading": self.loading,
            }
        ).encode()

    @classmethod
    def decode(cls, value: bytes, place: str) -> LogClock:
        """Return the clock that a value holds.

        Raises:
            StateError: another version of this software wrote it.
        """
        document = json.loads(value)
        if document["format"] != FORMAT:
            raise other_format(place, FORMAT, document["format"])
        return cls(document["latest"], tuple(document["lasts"]), document["loading"])


def entry_headers(position: int, roles: frozenset[Role]) -> Headers:
    """Return the headers of an event's record."""
    return [("position", str(position)), ("roles", str(encode_roles(roles)))]


def mark_headers(position: int, watermark: int) -> Headers:
    """Return the headers of a record without event."""
    return [("position", str(position)), ("watermark", str(watermark))]


def position_of(message: Message) -> int:
    """Return how many entries the partition has up to a record.

    Raises:
        StateError: it is nothing that a gateway wrote.
    """
    return int(_headers(message)["position"])


def read_record(message: Message) -> Entry | Mark:
    """Return what a record of the log's topic says.

    Raises:
        StateError: it is nothing that a gateway wrote.
    """
    headers = _headers(message)
    position = int(headers["position"])
    if "watermark" in headers:
        return Mark(position, from_micros(int(headers["watermark"])))
    return Entry(
        partition=message.partition() or 0,
        position=position,
        roles=decode_roles(int(headers["roles"])),
        event=decode_event(message.value() or b""),
    )


def ledger_record(event: KnownEvent) -> tuple[bytes, bytes]:
    """Return key and value of what the ledger is to remember of an event."""
    if isinstance(event, KnownMention):
        mention = event.mention
        return mention_record(mention.mention_id, mention.subject_id, mention.source_id)
    label = event.label
    return label_record(label.mention_id, label.label, to_micros(event.known_at))


def mention_record(mention_id: str, subject_id: str, source_id: str) -> tuple[bytes, bytes]:
    """Return key and value of what the ledger is to remember of a mention."""
    return _MENTION + mention_id.encode(), _json(subject_id, source_id)


def label_record(mention_id: str, label: str, known_at: int) -> tuple[bytes, bytes]:
    """Return key and value of a mention's label, known since (microseconds since 1970)."""
    return _LABEL + mention_id.encode(), _json(label, known_at)


def ledger_row(key: bytes, value: bytes) -> tuple[bool, tuple[str, str, str | int]]:
    """Return whether a record of the ledger tells of a mention or of a label, and its row."""
    first, second = json.loads(value)
    return key.startswith(_MENTION), (key[len(_MENTION) :].decode(), first, second)


def _json(*values: str | int) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()


def _headers(message: Message) -> dict[str, bytes]:
    headers: dict[str, bytes] = dict(message.headers() or ())  # type: ignore[arg-type]  # read: bytes
    if "position" not in headers:
        raise StateError(
            f"topic {message.topic()}, partition {message.partition()}, offset {message.offset()}",
            expected="a record that a gateway wrote",
            found="one without position",
            remedy="Let nobody else write to this topic; begin with another one.",
        )
    return headers
