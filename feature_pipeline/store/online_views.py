"""The online side of the feature store: the latest row of each key, as Feast keeps it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import polars as pl

from feature_pipeline.store.feast_values import values_of
from shared.feature_store import registry_errors
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from feast.protos.feast.types.Value_pb2 import Value

_CHUNK_ROWS = 1_000


class OnlineRows(Protocol):
    """Where the rows of an online store are put. Each kind of store has a layout of its own."""

    def write(self, view: FeatureView, key: str, rows: pl.DataFrame) -> None:
        """Write rows, none with a null, each of another key; again it changes nothing.

        Args:
            view: the feature view.
            key: its join key column, of text.
            rows: the features, the key and ``KNOWN_AT``.
        """
        ...


class OnlineViews:
    """Writes to Feast's online store.

    Args:
        store: knows the views.
        rows: where their rows are put.
    """

    def __init__(self, store: FeatureStore, rows: OnlineRows) -> None:
        self._store = store
        self._rows = rows
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
            ValueError: a row holds a null.
            FeatureRegistryError: the registry, which knows the view, is damaged or away.
        """
        latest = latest_rows(view, key, changelog)
        for chunk in latest.iter_slices(_CHUNK_ROWS):
            self._rows.write(self._view(view), key, chunk)
            on_rows(chunk.height)
        return latest.height

    def _view(self, name: str) -> FeatureView:
        """Return a view as it was when it was first written: it stays while the store is open."""
        if name not in self._views:
            with registry_errors(self._store):
                self._views[name] = self._store.get_feature_view(name)
        return self._views[name]


def latest_rows(view: str, key: str, changelog: pl.DataFrame) -> pl.DataFrame:
    """Return the last row of each key.

    Raises:
        ValueError: a row holds a null: Feast would keep the old value without a word.
    """
    latest = changelog.group_by(key, maintain_order=True).last()
    if any(latest.null_count().row(0)):
        raise ValueError(f"{view}: a null in {latest.null_count().to_dicts()}")
    return latest


class FeastRows:
    """Hands rows to Feast's provider as Feast's own values, for any kind of online store.

    ``FeatureStore.write_to_online_store`` makes these from a pandas frame, one at a time, which
    takes longer than all the rest.
    """

    def __init__(self, store: FeatureStore) -> None:
        from feast.infra.provider import get_provider

        self._config = store.config
        self._provider = get_provider(store.config)

    def write(self, view: FeatureView, key: str, rows: pl.DataFrame) -> None:
        """See ``OnlineRows``."""
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey

        keys = (
            EntityKey(join_keys=[key], entity_values=[value])
            for value in values_of(rows[key], "String")
        )
        names = [field.name for field in view.features]
        columns = [values_of(rows[field.name], str(field.dtype)) for field in view.features]
        features = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]] = [
            (entity, values, moment, None)
            for entity, values, moment in zip(keys, features, rows[KNOWN_AT], strict=True)
        ]
        self._provider.online_write_batch(self._config, view, data, None)
