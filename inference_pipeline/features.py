"""Reading the latest features of entities: the port, Feast behind it, and one in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import StateError
from shared.feature_store import FeatureService, read_feature_service

if TYPE_CHECKING:
    from feast import FeatureStore

Floats = npt.NDArray[np.float32]
Entity = Mapping[str, str]
"""The join keys of one mention: ``subject_id`` and ``source_id`` with their values."""


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
    every thread.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store

    def describe(self, name: str) -> FeatureService:
        """Return a feature service as it is registered now."""
        return read_feature_service(self._store, name)

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest rows, with one call to the store for all entities and views."""
        answer = self._store.get_online_features(
            features=self._store.get_feature_service(service.name, allow_cache=True),
            entity_rows=[dict(entity) for entity in entities],
            full_feature_names=True,
        ).to_dict(include_event_timestamps=True)
        absent = [feature.column for feature in service.features if feature.column not in answer]
        if absent:
            raise StateError(
                f"feature service {service.name}",
                expected=f"the feature {absent[0]}, which the model reads",
                found="a service that no longer has it",
            )
        values = np.array([answer[feature.column] for feature in service.features], dtype=float)
        known_at = {
            # A row carries one time for all its features. Feast calls an unknown entity PRESENT
            # and dates it 1970.
            feature.view: [
                datetime.fromtimestamp(seconds, UTC) if seconds else None
                for seconds in answer[f"{feature.column}__ts"]
            ]
            for feature in service.features
        }
        return OnlineRows(values=values.T.astype(np.float32), known_at=known_at)


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
