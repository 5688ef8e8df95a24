"""A real feature store on SQLite with the two activity views of a small task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from shared.feature_store import open_feature_store
from shared.places import Places

if TYPE_CHECKING:
    from feast import FeatureStore

SERVICE = "tiny"
TTL = timedelta(hours=2)


def open_store(home: Path, places: Places | None = None) -> FeatureStore:
    """Open the store, by default under a home, and register the task's views and service in it."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, Int64, String

    objects = []
    views = []
    for role in ("subject", "source"):
        key = f"{role}_id"
        entity = Entity(name=role, join_keys=[key], value_type=ValueType.STRING)
        objects.append(entity)
        views.append(
            FeatureView(
                name=f"{role}_activity",
                entities=[entity],
                # Sources keep for ever: zero is "any age" in Feast.
                ttl=TTL if role == "subject" else timedelta(0),
                schema=[
                    Field(name=key, dtype=String),
                    Field(name="mentions_24h", dtype=Int64),
                    Field(name="share_positive_24h", dtype=Float64),
                ],
                source=FileSource(
                    name=f"{role}_activity",
                    path=str(home / f"{role}.parquet"),
                    timestamp_field="event_timestamp",
                ),
            )
        )
    service = FeatureService(name=SERVICE, features=list(views))
    store = open_feature_store(places or Places.embedded(home))
    store.apply([*objects, *views, service])
    # The cached registry of this store does not see what it applied itself.
    store.refresh_registry()
    return store


def write(
    store: FeatureStore, role: str, entity: str, known_at: datetime, values: Mapping[str, object]
) -> None:
    """Write the latest row of an activity view."""
    row = {f"{role}_id": [entity], "event_timestamp": [known_at]}
    frame = pd.DataFrame(row | {name: [value] for name, value in values.items()})
    store.write_to_online_store(f"{role}_activity", frame)
