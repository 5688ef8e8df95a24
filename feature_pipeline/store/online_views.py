"""The online side of the feature store: the latest row of each key, through Feast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from shared.feature_store import registry_errors
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from feast.protos.feast.types.Value_pb2 import Value

_CHUNK_ROWS = 1_000


class OnlineViews:
    """Writes to Feast's online store.

    It hands rows to Feast's provider as Feast's own values. ``FeatureStore.write_to_online_store``
    makes these from a pandas frame, one at a time, which takes longer than all the rest; counts and
    shares are few, and are made once for a whole column.
    """

    def __init__(self, store: FeatureStore) -> None:
        from feast.infra.provider import get_provider

        self._store = store
        self._provider = get_provider(store.config)
        self._views: dict[str, FeatureView] = {}

    def write(
        self,
        view: str,
        key: str,
        changelog: pl.DataFrame,
        on_rows: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Write the last row of each key.

        Args:
            view: the feature view.
            key: its join key column.
            changelog: rows in order of time within each key.
            on_rows: told how many rows were written, as it goes.

        Returns:
            The number of keys written.

        Raises:
            ValueError: a row holds a null: Feast would keep the old value without a word.
            FeatureRegistryError: the registry, which knows the view, is damaged or away.
        """
        latest = changelog.group_by(key, maintain_order=True).last()
        if any(latest.null_count().row(0)):
            raise ValueError(f"{view}: a null in {latest.null_count().to_dicts()}")
        for chunk in latest.iter_slices(_CHUNK_ROWS):
            self._write_chunk(self._view(view), key, chunk)
            on_rows(chunk.height)
        return latest.height

    def _view(self, name: str) -> FeatureView:
        """Return a view as it was when it was first written: it stays while the store is open."""
        if name not in self._views:
            with registry_errors(self._store):
                self._views[name] = self._store.get_feature_view(name)
        return self._views[name]

    def _write_chunk(self, view: FeatureView, key: str, rows: pl.DataFrame) -> None:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey

        keys = (
            EntityKey(join_keys=[key], entity_values=[value])
            for value in _values(rows[key], "string_val")
        )
        names = [field.name for field in view.features]
        columns = [
            _values(rows[field.name], _VALUE_FIELDS[str(field.dtype)]) for field in view.features
        ]
        features = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]] = [
            (entity, values, moment, None)
            for entity, values, moment in zip(keys, features, rows[KNOWN_AT], strict=True)
        ]
        self._provider.online_write_batch(self._store.config, view, data, None)


_VALUE_FIELDS = {
    "Int64": "int64_val",
    "Float64": "double_val",
    "String": "string_val",
    "UnixTimestamp": "unix_timestamp_val",
}
"""Where Feast's values keep what is of these types, by Feast's names of them."""


def _values(column: pl.Series, field: str) -> list[Value]:
    """Return a column as Feast's values; equal ones are one object."""
    from feast.protos.feast.types.Value_pb2 import Value

    if isinstance(column.dtype, pl.Datetime):
        column = column.dt.epoch("s")
    plain: list[Any] = column.to_list()
    made = {value: Value(**{field: value}) for value in set(plain)}
    return [made[value] for value in plain]
