"""The tables of Feast's online store: the port, and how Feast writes keys and values into them.

Feast's own read parses every value into an object and asks once for each view. A request waits for
that, and so do the threads beside it: decision 17 has the figures. What is read here is the layout
that Feast's stores and its servers in other languages share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

ENTITY_KEY_VERSION = 3
"""How Feast serialises the keys of entities; `open_feature_store` sets the same."""

_REMEMBERED = 65_536
"""Keys, and values as they are stored, that are not taken apart again: counts repeat."""


@dataclass(frozen=True)
class Wanted:
    """Rows of one feature view."""

    view: str
    keys: Sequence[bytes]
    """Distinct, as `entity_key` returns them."""
    features: Sequence[str]


@dataclass(frozen=True)
class Latest:
    """The latest row of a view for one entity."""

    known_at: datetime
    values: list[float]
    """One for each wanted feature, NaN for null and for a feature that was never written."""


class OnlineTables(Protocol):
    """What a store of Feast answers. Calls of one method must not overlap."""

    def latest(self, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]]:
        """Return, for each of V views, its rows by key; a key without a row is absent.

        Raises:
            Exception: whatever the store's client raises when the store is down.
        """

    def latest_now(self, wanted: Sequence[Wanted]) -> list[dict[bytes, Latest]] | None:
        """Return what `latest` returns, or None where that means to wait for somebody else."""


@lru_cache(_REMEMBERED)
def entity_key(join_key: str, value: str) -> bytes:
    """Return the key under which Feast keeps the rows of an entity."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return serialize_entity_key(
        EntityKey(join_keys=[join_key], entity_values=[Value(string_val=value)]),
        entity_key_serialization_version=ENTITY_KEY_VERSION,
    )


@lru_cache(_REMEMBERED)
def number(stored: bytes) -> float:
    """Return the number in a value as Feast stores it, NaN for null."""
    from feast.protos.feast.types.Value_pb2 import Value

    value = Value.FromString(stored)
    kind = value.WhichOneof("val")
    return math.nan if kind is None or kind == "null_val" else float(getattr(value, kind))
