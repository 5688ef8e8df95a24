"""Which version of a Delta table is read: the latest, a numbered one, or that of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from deltalake import DeltaTable
from feast import FeatureStore
from feast.errors import FeastObjectNotFoundException
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError

Pin = int | datetime | None
"""A version's number, the moment as of which to read, or None for the latest version."""


def pinned(
    store: FeatureStore,
    *,
    versions: Mapping[str, int] | None = None,
    as_of: datetime | None = None,
) -> FeatureStore:
    """Return a feature store that reads its Delta tables as they were.

    Args:
        store: a feature store on this offline store; it is left as it is.
        versions: versions by the name of feature view or source, as a job's ``versions`` tells.
        as_of: the moment as of which tables are read that ``versions`` does not name.
    """
    config = store.config
    offline_store = config.offline_store.model_dump() | {
        "versions": dict(versions or {}),
        "as_of": as_of,
    }
    settings = config.model_dump(by_alias=True, exclude_unset=True)
    copy = RepoConfig(**{**settings, "offline_store": offline_store})
    copy.repo_path = config.repo_path
    return FeatureStore(config=copy)


def pin_of(config: RepoConfig, *names: str) -> Pin:
    """Return what the configuration says of a table that goes by these names."""
    versions: dict[str, int] = config.offline_store.versions
    as_of: datetime | None = config.offline_store.as_of
    return next((versions[name] for name in names if name in versions), as_of)


def check_pins(config: RepoConfig, registry: BaseRegistry, project: str) -> None:
    """Refuse a pin that no feature view and no source answers to: it would pin nothing.

    Raises:
        OfflineStoreError: a name in ``versions`` is unknown.
    """
    for name in config.offline_store.versions:
        if not _is_known(name, registry, project):
            raise OfflineStoreError(
                "offline store configuration, versions",
                expected=f"names of feature views or sources of project {project!r}",
                found=repr(name),
            )


def _is_known(name: str, registry: BaseRegistry, project: str) -> bool:
    for get in (registry.get_any_feature_view, registry.get_data_source):
        try:
            get(name, project, allow_cache=True)
        except FeastObjectNotFoundException:
            continue
        return True
    return False


def version_at(table: DeltaTable, moment: datetime) -> int:
    """Return the last version that was committed at or before a moment; a naive one is UTC.

    The commits themselves tell, in milliseconds. (Delta Lake's own search goes by the times of the
    log's files, which a copy or a restored backup changes, and answers with the oldest version
    where there was no table yet.)

    Raises:
        OfflineStoreError: no commit that is left in the log is that old.
    """
    at = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    commits = [
        (datetime.fromtimestamp(commit["timestamp"] / 1000, UTC), commit["version"])
        for commit in table.history()
        if "timestamp" in commit
    ]
    versions: list[int] = [version for committed, version in commits if committed <= at]
    if not versions:
        oldest = min(commits)[0].isoformat() if commits else "none that tells its time"
        raise OfflineStoreError(
            table.table_uri,
            expected=f"a commit of {at.isoformat()} or before",
            found=f"the oldest in the log from {oldest}" if commits else oldest,
        )
    return max(versions)
