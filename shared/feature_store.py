"""The feature store in which the three services meet, and what of it a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import StateError
from shared.features import ServedFeature, service_hash

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "fti"


def offline_folder(home: Path) -> Path:
    """Return the folder of the Delta tables in the embedded mode, one folder a feature view."""
    return home / "offline"


def open_feature_store(home: Path, *, versions: Mapping[str, int] | None = None) -> FeatureStore:
    """Open the embedded feature store under FTI_HOME. It costs seconds: once per process.

    The registry is SQL because several processes use it at once: Feast's file registry truncates
    before it writes.

    Args:
        home: FTI_HOME.
        versions: the table version at which a feature view is read offline, by its name; others
            are read at their latest.

    Raises:
        StateError: the registry is damaged.
    """
    from feast import FeatureStore
    from feast.repo_config import RepoConfig
    from sqlalchemy.exc import DatabaseError

    folder = home / "feast"
    folder.mkdir(parents=True, exist_ok=True)
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry={
            "registry_type": "sql",
            "path": f"sqlite:///{folder / 'registry.db'}",
            "cache_mode": "thread",
            "cache_ttl_seconds": 30,
        },
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={
            "type": "feast_polars_delta.PolarsDeltaOfflineStore",
            "versions": dict(versions or {}),
        },
        entity_key_serialization_version=3,
    )
    try:
        return FeatureStore(config=config)
    except DatabaseError as error:
        raise StateError(
            str(folder / "registry.db"),
            expected="a sound SQLite database",
            found=str(error.orig),
            remedy="Put a backup in its place.",
        ) from error


@dataclass(frozen=True)
class FeatureService:
    """A Feast feature service as models see it."""

    name: str
    features: tuple[ServedFeature, ...]
    ttl: dict[str, timedelta]
    """Per view: how old a row may be and still count; zero means any age."""
    join_keys: dict[str, str]
    """Per view: the column that names its entity."""

    @property
    def hash(self) -> str:
        """The identity that a model version records and serving checks."""
        return service_hash(self.features)


def read_feature_service(store: FeatureStore, name: str) -> FeatureService:
    """Read a feature service from the registry.

    Raises:
        StateError: the service is not there.
    """
    from feast.errors import FeatureServiceNotFoundException

    store.refresh_registry()
    try:
        service = store.get_feature_service(name)
    except FeatureServiceNotFoundException:
        raise StateError(
            f"feature store, project {store.project}",
            expected=f"a feature service {name!r}",
            found="none of that name",
            remedy="Run `python -m feature_pipeline backfill` for the task first.",
        ) from None
    features: list[ServedFeature] = []
    ttl: dict[str, timedelta] = {}
    join_keys: dict[str, str] = {}
    for projection in service.feature_view_projections:
        view = store.get_feature_view(projection.name)
        features += [
            ServedFeature(view=projection.name_to_use(), name=field.name, dtype=str(field.dtype))
            for field in projection.features
        ]
        ttl[projection.name_to_use()] = view.ttl or timedelta(0)
        join_keys[projection.name_to_use()] = view.join_keys[0]
    return FeatureService(name=name, features=tuple(features), ttl=ttl, join_keys=join_keys)
