"""What an event log on Redis writes: entries, and what it remembers of mentions and labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import polars as pl

from feature_pipeline.definition.records import KnownEvent, KnownMention
from feature_pipeline.eventlog.clock import from_micros, to_micros
from feature_pipeline.eventlog.encoding import encode_event, encode_roles
from feature_pipeline.eventlog.history_rows import label_rows, mention_rows
from feature_pipeline.eventlog.identity import HeldLedger
from feature_pipeline.eventlog.port import routes
from feature_pipeline.eventlog.redis.scripts import BEGIN, COMMIT, GIVE_BACK
from shared.errors import StateError
from shared.events import Label, Mention

_TURN_MILLISECONDS = 2_000
"""A turn ends by itself, should its holder have died."""
_AT_ONCE = 5_000
T = TypeVar("T")


class RedisKeys:
    """Names of what a log keeps; the braces keep all of it in one slot of a cluster.

    Attributes:
        meta: a hash: partitions, format, version, latest, and last, trimmed and acknowledged
            position of each partition.
        turn: the token of an appender that nobody may overtake.
        mentions: a hash: subject and source of each mention.
        labels: a hash: the current label of each mention, and when it became known.
    """

    def __init__(self, name: str) -> None:
        self._prefix = f"fti:{{{name}}}:log"
        self.meta = f"{self._prefix}:meta"
        self.turn = f"{self._prefix}:turn"
        self.mentions = f"{self._prefix}:mentions"
        self.labels = f"{self._prefix}:labels"

    def stream(self, partition: int) -> str:
        """Return the stream that holds the entries of a partition."""
        return f"{self._prefix}:entries:{partition}"


@dataclass(frozen=True)
class Seen:
    """How a log stood when it was read: who writes says so, and must not be wrong."""

    version: int
    latest: datetime
    lasts: list[int]


class RedisAppender:
    """Reads what a batch is settled by, and writes it in one step if the log is as it was read.

    Args:
        client: of redis-py, whose types mix those of its asynchronous twin into every answer.
        keys: of the log.
        partitions: of the log.
    """

    def __init__(self, client: Any, keys: RedisKeys, partitions: int) -> None:
        self._client = client
        self._keys = keys
        self._partitions = partitions
        self._commit = client.register_script(COMMIT)
        self._begin = client.register_script(BEGIN)
        self._give_back = client.register_script(GIVE_BACK)

    def look(self, events: Sequence[Mention | Label]) -> tuple[Seen, HeldLedger]:
        """Return how the log stands, and what it remembers of the mentions of some events.

        The version is read first: what is read after it may be newer, and is not written then.
        """
        ids = list({event.mention_id for event in events})
        labelled = list({event.mention_id for event in events if isinstance(event, Label)})
        pipeline = self._client.pipeline(transaction=False)
        lasts = [f"last:{partition}" for partition in range(self._partitions)]
        pipeline.hmget(self._keys.meta, "version", "latest", *lasts)
        for key, wanted in ((self._keys.mentions, ids), (self._keys.labels, labelled)):
            for mention_ids in _chunks(wanted):
                pipeline.hmget(key, mention_ids)
        found, *answers = pipeline.execute()
        version, latest, *last_positions = numbers(found)
        remembered = [json.loads(value or "null") for answer in answers for value in answer]
        ledger = HeldLedger()
        for mention_id, keys in zip(ids, remembered[: len(ids)], strict=True):
            if keys is not None:
                ledger.keys[mention_id] = (keys[0], keys[1])
        for mention_id, current in zip(labelled, remembered[len(ids) :], strict=True):
            if current is not None:
                ledger.labels[mention_id] = (current[0], from_micros(current[1]))
        return Seen(version, from_micros(latest), last_positions), ledger

    def append(self, seen: Seen, recorded: Sequence[KnownEvent], token: str) -> bool:
        """Append events in one step; return False if the log is not as it was seen."""
        mentions: list[str] = []
        labels: list[str] = []
        entries: list[str | int] = []
        lasts = list(seen.lasts)
        for event in recorded:
            (mentions if isinstance(event, KnownMention) else labels).extend(_remembered(event))
            keys = event.mention if isinstance(event, KnownMention) else event
            text = encode_event(event)
            placed = routes(keys.subject_id, keys.source_id, self._partitions)
            for partition, roles in placed.items():
                lasts[partition] += 1
                entries += (partition, lasts[partition], encode_roles(roles), text)
        reached = [
            (partition, last)
            for partition, last in enumerate(lasts)
            if last > seen.lasts[partition]
        ]
        latest = to_micros(recorded[-1].known_at)
        counts = (len(reached), len(mentions) // 2, len(labels) // 2, len(entries) // 4)
        return bool(
            self._commit(
                keys=[
                    *(self._keys.meta, self._keys.turn, self._keys.mentions, self._keys.labels),
                    *(self._keys.stream(partition) for partition in range(self._partitions)),
                ],
                args=[
                    *(seen.version, to_micros(seen.latest), token, latest, *counts),
                    *(number for pair in reached for number in pair),
                    *(*mentions, *labels, *entries),
                ],
            )
        )

    def take_turn(self, token: str) -> None:
        """Keep others from appending until the holder of a token has; unless it is another's."""
        self._client.set(self._keys.turn, token, nx=True, px=_TURN_MILLISECONDS)

    def give_turn_back(self, token: str) -> None:
        """End the turn of a token, which has nothing to append after all."""
        self._give_back(keys=[self._keys.turn], args=[token])

    def begin(self, watermark: datetime, mentions: pl.DataFrame, labels: pl.DataFrame) -> int:
        """Replace what the log remembers; return the number of entries that forbid it, or 0.

        It is told under other names, which are replaced in one step.
        """
        ledgers: dict[str, Iterator[tuple[str, str, str | int]]] = {
            self._keys.mentions: mention_rows(mentions),
            self._keys.labels: label_rows(labels),
        }
        for key, rows in ledgers.items():
            self._client.unlink(f"{key}:new")
            while told := list(islice(rows, _AT_ONCE)):
                pairs = [part for row in told for part in _remembered_row(*row)]
                self._client.hset(f"{key}:new", items=pairs)
        return int(
            self._begin(
                keys=[self._keys.meta, *ledgers, *(f"{key}:new" for key in ledgers)],
                args=[to_micros(watermark), self._partitions],
            )
        )


def numbers(found: Sequence[bytes | None]) -> list[int]:
    """Return numbers that every log has.

    Raises:
        StateError: one is missing.
    """
    held = [int(value) for value in found if value is not None]
    if len(held) < len(found):
        raise StateError(
            "event log in Redis",
            expected="the log that was there when it was opened",
            found="nothing, or a part of it",
            remedy="Somebody emptied the server: put a backup in its place, and start again.",
        )
    return held


def _remembered(event: KnownEvent) -> tuple[str, str]:
    """Return a field of ``mentions`` or of ``labels``, and its value."""
    if isinstance(event, KnownMention):
        mention = event.mention
        return _remembered_row(mention.mention_id, mention.subject_id, mention.source_id)
    label = event.label
    return _remembered_row(label.mention_id, label.label, to_micros(event.known_at))


def _remembered_row(mention_id: str, first: str, second: str | int) -> tuple[str, str]:
    """Return the field of a mention, and the value: subject and source, or label and known_at."""
    return mention_id, json.dumps((first, second))


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return a command's worth of items at a time, so that none keeps the server for long."""
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
