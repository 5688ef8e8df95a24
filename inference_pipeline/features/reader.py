"""Reading the latest features of entities: the port, Feast behind it, and one in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import StateError
from shared.feature_store import FeatureService, read_feature_service, registry_errors

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from feast.protos.feast.types.Value_pb2 import Value

Floats = npt.NDArray[np.float32]
Entity = Mapping[str, str]
"""The join keys of one mention: ``subject_id`` and ``source_id`` with their values."""

_NEVER = datetime.fromtimestamp(0, UTC)
"""When a row was known that is not there: Redis stores of Feast say so, others None."""


@dataclass(frozen=True)
class OnlineRows:
    """The latest rows of B entities."""

    values: Floats
    """float32 [B, features] in the order of the service, NaN where there is no value."""
    known_at: dict[str, list[datetime | None]]
    """Per view, B times; None where the view has no row for the entity."""


class FeatureReader(Protocol):
    """What serving needs of a feature store."""

    def describe(self, name: str) -> FeatureService:
        """Return a feature service as it is registered now.

        Raises:
            StateError: there is none of that name.
            Exception: whatever tells that the registry is away, but no StateError.
        """

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest row of every view of the service for each of B entities.

        Raises:
            StateError: the store no longer serves what the service names.
            Exception: whatever the store's client raises when the store is down.
        """


class FeastFeatureReader:
    """The online store of Feast. Calls of `read` must not overlap.

    Feast opens one connection to an SQLite online store, lazily and with no lock, and hands it to
    every thread. `FeatureStore.get_online_features` resolves the service from the registry at each
    call, which takes four times as long as the read: here `describe` does so, and `read` goes to
    the online store.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._views: dict[str, dict[str, FeatureView]] = {}
        """Per service, its views as they were described last."""

    def describe(self, name: str) -> FeatureService:
        """Return a feature service as it is registered now."""
        service = read_feature_service(self._store, name)
        self._views[name] = self._resolve(name)
        return service

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest rows, with one call to the store for each view."""
        if service.name not in self._views:
            self._views[service.name] = self._resolve(service.name)
        views = self._views[service.name]
        values = np.full((len(entities), len(service.features)), np.nan, dtype=np.float32)
        known_at: dict[str, list[datetime | None]] = {}
        for view, key in service.join_keys.items():
            columns = {
                feature.name: column
                for column, feature in enumerate(service.features)
                if feature.view == view
            }
            served = {field.name for field in views[view].features} if view in views else set()
            if absent := columns.keys() - served:
                raise StateError(
                    f"feature service {service.name}",
                    expected=f"the feature {view}__{min(absent)}, which the model reads",
                    found="a service that no longer has it",
                )
            ids = [entity[key] for entity in entities]
            latest = self._latest(views[view], key, list(dict.fromkeys(ids)), list(columns))
            known_at[view] = [latest[name][0] for name in ids]
            values[:, list(columns.values())] = [latest[name][1] for name in ids]
        return OnlineRows(values=values, known_at=known_at)

    def _resolve(self, name: str) -> dict[str, FeatureView]:
        with registry_errors(self._store):
            service = self._store.get_feature_service(name, allow_cache=True)
            return {
                projection.name_to_use(): self._store.get_feature_view(projection.name)
                for projection in service.feature_view_projections
            }

    def _latest(
        self, view: FeatureView, join_key: str, ids: list[str], features: list[str]
    ) -> dict[str, tuple[datetime | None, list[float]]]:
        """Return, per entity, the time of its latest row and its features, NaN for null."""
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        rows = self._store.provider.online_read(
            self._store.config,
            view,
            [EntityKey(join_keys=[join_key], entity_values=[Value(string_val=key)]) for key in ids],
            [*features],  # a copy: Feast's Redis store adds to it
        )
        nothing: dict[str, Value] = {}
        latest = {}
        for name, (known_at, row) in zip(ids, rows, strict=True):
            found = row or nothing
            numbers = [
                _number(found[feature]) if feature in found else math.nan for feature in features
            ]
            latest[name] = (None if known_at == _NEVER else known_at, numbers)
        return latest


def _number(value: Value) -> float:
    """Return the number in a value of Feast, NaN for null."""
    kind = value.WhichOneof("val")
    return math.nan if kind is None or kind == "null_val" else float(getattr(value, kind))


class InMemoryFeatureReader:
    """A feature store in a dictionary, for tests and trials without a store."""

    def __init__(self, *services: FeatureService) -> None:
        self._services = {service.name: service for service in services}
        self._rows: dict[tuple[str, str], tuple[datetime, dict[str, float | None]]] = {}

    def register(self, service: FeatureService) -> None:
        """Add a feature service, or put another in the place of the one of its name."""
        self._services[service.name] = service

    def put(
        self, view: str, entity: str, known_at: datetime, values: Mapping[str, float | None]
    ) -> None:
        """Set the latest row of a view for an entity; values are by the feature's bare name."""
        self._rows[view, entity] = (known_at, dict(values))

    def describe(self, name: str) -> FeatureService:
        """Return a feature service."""
        if name not in self._services:
            raise StateError(
                "feature store", expected=f"a feature service {name!r}", found="none of that name"
            )
        return self._services[name]

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest rows."""
        values = np.full((len(entities), len(service.features)), np.nan, dtype=np.float32)
        known_at: dict[str, list[datetime | None]] = {
            view: [None] * len(entities) for view in service.ttl
        }
        for row, entity in enumerate(entities):
            for column, feature in enumerate(service.features):
                found = self._rows.get((feature.view, entity[service.join_keys[feature.view]]))
                if found is None:
                    continue
                known_at[feature.view][row] = found[0]
                value = found[1].get(feature.name)
                values[row, column] = np.nan if value is None else value
        return OnlineRows(values=values, known_at=known_at)
