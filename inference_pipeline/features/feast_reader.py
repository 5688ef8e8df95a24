"""The feature store of Feast: its registry tells what is served, its online store the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from inference_pipeline.features.online_tables import Latest, OnlineTables, Wanted, entity_key
from inference_pipeline.features.reader import Entity, OnlineRows
from shared.errors import StateError
from shared.feature_store import FeatureService, read_feature_service, registry_errors

if TYPE_CHECKING:
    from feast import FeatureStore


class FeastFeatureReader:
    """Reads a service as `describe` saw it last. Calls of one method must not overlap.

    Feast's `get_online_features` resolves the service from the registry at each call, which takes
    four times as long as its read.
    """

    def __init__(self, store: FeatureStore, tables: OnlineTables) -> None:
        """Reach nothing yet.

        Args:
            store: its registry is asked.
            tables: its online store.
        """
        self._store = store
        self._tables = tables
        self._served: dict[str, dict[str, _ServedView]] = {}
        """Per service, its views as they were described last."""
        self._plans: dict[str, tuple[FeatureService, list[_Plan]]] = {}

    def describe(self, name: str) -> FeatureService:
        """Return a feature service as it is registered now."""
        service = read_feature_service(self._store, name)
        self._served[name] = self._resolve(name)
        self._plans.pop(name, None)
        return service

    def read(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows:
        """Return the latest rows of all views, with one call to the store."""
        asked = self._asked(service, entities)
        return _rows(service, asked, self._tables.latest([one.wanted for one in asked]))

    def read_now(self, service: FeatureService, entities: Sequence[Entity]) -> OnlineRows | None:
        """Return the same where the store need not be waited for."""
        asked = self._asked(service, entities)
        found = self._tables.latest_now([one.wanted for one in asked])
        return None if found is None else _rows(service, asked, found)

    def _asked(self, service: FeatureService, entities: Sequence[Entity]) -> list[_Asked]:
        asked = []
        for plan in self._plans_of(service):
            keys = [entity_key(plan.join_key, entity[plan.join_key]) for entity in entities]
            wanted = Wanted(plan.table, list(dict.fromkeys(keys)), plan.features)
            asked.append(_Asked(plan, keys, wanted))
        return asked

    def _plans_of(self, service: FeatureService) -> list[_Plan]:
        planned, plans = self._plans.get(service.name, (None, []))
        if planned is not service:
            plans = [self._plan(service, view) for view in service.join_keys]
            self._plans[service.name] = (service, plans)
        return plans

    def _plan(self, service: FeatureService, view: str) -> _Plan:
        if service.name not in self._served:
            self._served[service.name] = self._resolve(service.name)
        columns = [
            column for column, feature in enumerate(service.features) if feature.view == view
        ]
        features = [service.features[column].name for column in columns]
        served = self._served[service.name].get(view, _ServedView("", frozenset()))
        if absent := set(features) - served.features:
            raise StateError(
                f"feature service {service.name}",
                expected=f"the feature {view}__{min(absent)}, which the model reads",
                found="a service that no longer has it",
            )
        return _Plan(view, served.table, service.join_keys[view], features, columns)

    def _resolve(self, name: str) -> dict[str, _ServedView]:
        with registry_errors(self._store):
            service = self._store.get_feature_service(name, allow_cache=True)
            views = {
                projection.name_to_use(): self._store.get_feature_view(projection.name)
                for projection in service.feature_view_projections
            }
        return {
            name: _ServedView(view.name, frozenset(field.name for field in view.features))
            for name, view in views.items()
        }


@dataclass(frozen=True)
class _ServedView:
    """A view as it is registered."""

    table: str
    """The name under which the online store keeps it."""
    features: frozenset[str]


@dataclass(frozen=True)
class _Plan:
    """What is read of one view, and where it goes."""

    view: str
    table: str
    join_key: str
    features: list[str]
    columns: list[int]
    """Of these features among the service's."""


@dataclass(frozen=True)
class _Asked:
    """What is read of one view for B entities."""

    plan: _Plan
    keys: list[bytes]
    """B of them."""
    wanted: Wanted


def _rows(
    service: FeatureService, asked: Sequence[_Asked], found: Sequence[dict[bytes, Latest]]
) -> OnlineRows:
    """Bring what was found into the order of the entities and of the service's features."""
    values = np.full((len(asked[0].keys), len(service.features)), np.nan, dtype=np.float32)
    known_at: dict[str, list[datetime | None]] = {}
    for one, rows in zip(asked, found, strict=True):
        nothing = [np.nan] * len(one.plan.columns)
        latest = [rows.get(key) for key in one.keys]
        known_at[one.plan.view] = [None if row is None else row.known_at for row in latest]
        values[:, one.plan.columns] = [nothing if row is None else row.values for row in latest]
    return OnlineRows(values=values, known_at=known_at)
