"""Feast's online store on Redis: a hash for each entity, a field for each feature of a view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from inference_pipeline.features.online_tables import Latest, Wanted, number

if TYPE_CHECKING:
    from redis import Redis


class RedisTables:
    """Asks for all views and entities in one round trip."""

    def __init__(self, client: Redis, project: str) -> None:
        """Connect to nothing yet.

        Args:
            client: answers in bytes.
            project: of the feature store.
        """
        self._client = client
        self._project = project.encode()

    def latest(self, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]]:
        """See `OnlineTables`."""
        with self._client.pipeline(transaction=False) as pipeline:
            for view in wanted:
                fields = _fields(view.view, tuple(view.features))
                for key in view.keys:
                    # Not `hmget`, whose types know keys of text only.
                    pipeline.execute_command("HMGET", key + self._project, *fields)
            replies = iter(pipeline.execute())
        return [
            {
                key: Latest(
                    known_at=_moment(known_at),
                    values=[math.nan if value is None else number(value) for value in values],
                )
                for key, (*values, known_at) in zip(view.keys, replies, strict=False)
                if known_at is not None
            }
            for view in wanted
        ]

    def latest_now(self, wanted: Sequence[Wanted]) -> None:
        """Return nothing: a server is always waited for."""


@lru_cache(256)
def _fields(view: str, features: tuple[str, ...]) -> list[bytes | str]:
    """Return the names of the fields; the last holds when the row was known."""
    import mmh3

    hashes = [mmh3.hash(f"{view}:{feature}", signed=False) for feature in features]
    return [*(value.to_bytes(4, "little") for value in hashes), f"_ts:{view}"]


def _moment(stored: bytes) -> datetime:
    from google.protobuf.timestamp_pb2 import Timestamp

    timestamp = Timestamp.FromString(stored)
    second = datetime.fromtimestamp(timestamp.seconds, UTC)
    return second + timedelta(microseconds=timestamp.nanos // 1_000)
