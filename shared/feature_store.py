"""The feature store in which the three services meet, and what of it a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import FtiError, StateError
from shared.features import ServedFeature, service_hash
from shared.places import Places, make_folder_of, sqlite_path
from shared.redis_address import connection_string
from shared.sql_address import shown_database

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "fti"


class FeatureRegistryError(FtiError):
    """The feature registry is damaged or away: nothing is known about what stands in it."""


class FeatureRegistryAwayError(FeatureRegistryError):
    """The feature registry does not answer, or is locked: it may be back soon."""

    passing = True


def open_feature_store(
    places: Places, *, versions: Mapping[str, int] | None = None
) -> FeatureStore:
    """Open the feature store. It costs seconds: once per process.

    The registry is SQL because several processes use it at once: Feast's file registry truncates
    before it writes.

    Args:
        places: where its parts are; none is reached before it is first used.
        versions: the table version at which a feature view is read offline, by its name; others
            are read at their latest.
    """
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    make_folder_of(places.feature_registry)
    make_folder_of(places.online_store)
    config = feast_configuration(places)
    config["offline_store"]["versions"] = dict(versions or {})
    return FeatureStore(config=RepoConfig(**config))


def feast_configuration(places: Places) -> dict[str, Any]:
    """Return Feast's configuration of the feature store, as its ``feature_store.yaml`` has it."""
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": places.feature_registry,
            "cache_mode": "thread",
            "cache_ttl_seconds": 30,
        },
        "online_store": _online_store(places.online_store),
        "offline_store": {"type": "feast_polars_delta.PolarsDeltaOfflineStore"},
        "entity_key_serialization_version": 3,
    }


@contextmanager
def registry_errors(store: FeatureStore) -> Iterator[None]:
    """Tell of a feature registry that is damaged or away in words for people.

    Raises:
        FeatureRegistryAwayError: the database does not answer, or is locked.
        FeatureRegistryError: the block's own database error, or the driver is not installed; names
            no server, user or password.
    """
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    try:
        yield
    except ModuleNotFoundError as error:
        raise FeatureRegistryError(
            "FTI_FEATURE_REGISTRY",
            expected="a database whose driver is installed",
            found=f"no module {error.name}",
            remedy='For PostgreSQL: pip install "psycopg[binary]", and postgresql+psycopg://…',
        ) from error
    except DBAPIError as error:
        # A damaged file is neither of the two: it would not mend itself.
        away = isinstance(error, OperationalError | InterfaceError)
        raise (FeatureRegistryAwayError if away else FeatureRegistryError)(
            f"feature registry in {shown_database(str(store.config.registry.path))}",
            expected="a sound database",
            found=str(error.orig),
            remedy="Start its server, or put a backup in its place.",
        ) from error


def _online_store(address: str) -> dict[str, str]:
    path = sqlite_path(address)
    if path is not None:
        return {"type": "sqlite", "path": str(path)}
    return {"type": "redis", "connection_string": connection_string(address)}


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
        FeatureRegistryError: nobody can tell, since the registry is damaged or away.
    """
    with registry_errors(store):
        return _registered_service(store, name)


def _registered_service(store: FeatureStore, name: str) -> FeatureService:
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
