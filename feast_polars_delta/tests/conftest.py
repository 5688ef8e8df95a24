"""A Feast feature store on this offline store, in a folder of its own for every test."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureStore, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.repo_config import RepoConfig

from feast_polars_delta import PolarsDeltaRetrievalJob

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

SUBJECT = Entity(name="subject", join_keys=["subject_id"], value_type=ValueType.STRING)
SOURCE = Entity(name="source", join_keys=["source_id"], value_type=ValueType.INT64)


def at(minutes: float) -> datetime:
    """Return the time that many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def history(
    store: FeatureStore, entity_rows: Any, features: Any, **options: Any
) -> PolarsDeltaRetrievalJob:
    """Return Feast's job for the features of entity rows, given as columns or as a dataframe."""
    job = store.get_historical_features(pd.DataFrame(entity_rows), features, **options)
    assert isinstance(job, PolarsDeltaRetrievalJob)
    return job


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    """Return a function that opens the feature store; its arguments configure the offline store."""

    def open_it(**offline_store: Any) -> FeatureStore:
        return FeatureStore(
            config=RepoConfig(
                project="test",
                provider="local",
                registry=str(tmp_path / "registry.db"),
                online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
                offline_store={
                    "type": "feast_polars_delta.PolarsDeltaOfflineStore",
                    **offline_store,
                },
                entity_key_serialization_version=3,
            )
        )

    return open_it


@pytest.fixture
def store(open_store: Callable[..., FeatureStore]) -> FeatureStore:
    """A feature store without objects."""
    return open_store()


@pytest.fixture
def delta(tmp_path: Path) -> Callable[..., FileSource]:
    """Return a function that writes columns as a Delta table, or none, and gives its source."""

    def source(
        name: str, columns: dict[str, Any] | pl.DataFrame | None = None, **options: Any
    ) -> FileSource:
        path = tmp_path / name
        if columns is not None:
            pl.DataFrame(columns).write_delta(path)
        return FileSource(
            name=name,
            path=str(path),
            file_format=DeltaFormat(),
            timestamp_field=options.pop("timestamp_field", "event_timestamp"),
            **options,
        )

    return source


@pytest.fixture(scope="session")
def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
