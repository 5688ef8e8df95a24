"""Reading the latest features of entities: the port, and a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import StateError
from shared.feature_store import FeatureService

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
            Exception: whatever tells that the registry is away, but no StateError.
        """

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest row of every view of the service for each of B entities.

        Raises:
            StateError: the store no longer serves what the service names.
            Exception: whatever the store's client raises when the store is down.
        """

    def read_now(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows | None:
        """Return what `read` returns, or None where that means to wait for somebody else.

        It may be called beside `read`. Raises what `read` raises.
        """


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

    def read_now(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows | None:  # noqa: ARG002 - the port's signature
        """Return nothing, as a store does that is a server."""
        return None
