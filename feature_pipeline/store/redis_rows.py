"""Rows of Feast's online store on Redis: a hash for each entity, a field for each feature."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from feature_pipeline.store.feast_values import serialised
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureView

_ENTITY_KEY_VERSION = 3
"""That of the feature store's configuration (``shared.feature_store``)."""


class RedisRows:
    """Writes rows as Feast's own Redis store does, in two round trips for all of them.

    A row that is not newer than what is stored is left out, as Feast does it: a replay shows nobody
    an older value. What is stored is asked for first, so a key may have one writer at a time: the
    worker of its partition.
    """

    def __init__(self, client: Any, project: str) -> None:
        """Connect to nothing yet.

        Args:
            client: of redis-py, whose types mix those of its asynchronous twin into every answer.
            project: of the feature store.
        """
        self._client = client
        self._project = project.encode()

    def write(self, view: FeatureView, key: str, rows: pl.DataFrame) -> None:
        """See ``OnlineRows``."""
        rows = rows.with_columns(pl.Series("hash", self._hashes(key, rows[key]), dtype=pl.Binary))
        newer = rows.filter(rows[KNOWN_AT].dt.epoch("us") > self._stored(view.name, rows["hash"]))
        columns = [serialised(newer[field.name], str(field.dtype)) for field in view.features]
        names = _fields(view.name, tuple(field.name for field in view.features))
        times = [_timestamp(micros) for micros in newer[KNOWN_AT].dt.epoch("us")]
        with self._client.pipeline(transaction=False) as pipeline:
            # One command a row: nobody sees a half of it.
            for name, *values in zip(newer["hash"], times, *columns, strict=True):
                pairs = chain.from_iterable(zip(names, values, strict=True))
                pipeline.execute_command("HSET", name, *pairs)
            pipeline.execute()

    def _stored(self, view: str, hashes: pl.Series) -> pl.Series:
        """Return when the rows that are stored were known, in microseconds; 0 where is none."""
        with self._client.pipeline(transaction=False) as pipeline:
            for name in hashes:
                pipeline.execute_command("HGET", name, _time_field(view))
            return pl.Series([_micros(found) for found in pipeline.execute()], dtype=pl.Int64)

    def _hashes(self, key: str, values: pl.Series) -> list[bytes]:
        """Return the names of the hashes: the entities as Feast serialises them, the project."""
        from feast.infra.key_encoding_utils import serialize_entity_key_prefix
        from feast.protos.feast.types.Value_pb2 import ValueType

        prefix = serialize_entity_key_prefix([key], _ENTITY_KEY_VERSION)
        encoded = (value.encode() for value in values)
        return [
            b"".join((prefix, struct.pack("<2I", ValueType.STRING, len(text)), text, self._project))
            for text in encoded
        ]


@lru_cache(16)
def _fields(view: str, features: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the fields of a row: when it was known, and the features."""
    import mmh3

    hashes = (mmh3.hash(f"{view}:{feature}", signed=False) for feature in features)
    return _time_field(view), *(value.to_bytes(4, "little") for value in hashes)


def _time_field(view: str) -> bytes:
    return f"_ts:{view}".encode()


def _timestamp(micros: int) -> bytes:
    from google.protobuf.timestamp_pb2 import Timestamp

    seconds, rest = divmod(micros, 1_000_000)
    encoded: bytes = Timestamp(seconds=seconds, nanos=1_000 * rest).SerializeToString()
    return encoded


def _micros(stored: bytes | None) -> int:
    from google.protobuf.timestamp_pb2 import Timestamp

    if stored is None:
        return 0
    timestamp = Timestamp.FromString(stored)
    micros: int = timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000
    return micros
