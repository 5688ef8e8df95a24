"""The two views in a Feast repository, on an offline store of choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat, ParquetFormat
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64

from benchmarks.offline_store.tables import COUNTS, FEATURES, SHARES, VIEWS, Tables, View


def open_repository(tables: Tables, offline_store: str, *, delta: bool) -> FeatureStore:
    """Return a feature store with both views, its registry beside the tables.

    Args:
        tables: what the views read.
        offline_store: Feast's ``type``: a name or a class path.
        delta: read the Delta tables, not the Parquet files.
    """
    beside = (
        tables.folder / f"{offline_store.rpartition('.')[-1]}-{'delta' if delta else 'parquet'}"
    )
    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=f"{beside}.registry",
            online_store={"type": "sqlite", "path": f"{beside}.online"},
            offline_store={"type": offline_store},
            entity_key_serialization_version=3,
        )
    )
    objects: list[Any] = []
    for view in VIEWS:
        path = tables.delta(view) if delta else tables.parquet(view)
        objects += _objects(view, path, delta=delta)
    store.apply(objects)
    return store


def join_through_feast(store: FeatureStore, labels: pd.DataFrame) -> pa.Table:
    """Return the label rows with the features of both views as of their times."""
    features = [f"{view.name}:{name}" for view in VIEWS for name in FEATURES]
    return store.get_historical_features(labels, features, full_feature_names=True).to_arrow()


def _objects(view: View, path: Path, *, delta: bool) -> list[Any]:
    entity = Entity(name=view.key, join_keys=[view.key], value_type=ValueType.STRING)
    source = FileSource(
        name=view.name,
        path=str(path),
        file_format=DeltaFormat() if delta else ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [Field(name=name, dtype=Int64) for name in COUNTS]
    schema += [Field(name=name, dtype=Float64) for name in SHARES]
    return [
        entity,
        FeatureView(name=view.name, entities=[entity], schema=schema, source=source, ttl=view.ttl),
    ]
