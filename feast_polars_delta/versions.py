"""Which version of a Delta table is read: the latest, a numbered one, or that of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from deltalake import DeltaTable
from feast import FeatureStore
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

    Raises:
        OfflineStoreError: a name in ``versions`` is unknown.
    """
    config = store.config
    pins = dict(versions or {})
    sources = _sources(store.registry, store.project)
    _check_names(pins, sources)
    # Feast names the source only where it reads a range, as materialization does.
    pins |= {sources[name]: version for name, version in pins.items() if name in sources}
    offline_store = config.offline_store.model_dump() | {"versions": pins, "as_of": as_of}
    settings = config.model_dump(by_alias=True, exclude_unset=True)
    copy = RepoConfig(**{**settings, "offline_store": offline_store})
    copy.repo_path = config.repo_path
    return FeatureStore(repo_path=str(store.repo_path), config=copy)


def pin_of(config: RepoConfig, *names: str) -> Pin:
    """Return what the configuration says of a table that goes by these names."""
    versions: dict[str, int] = config.offline_store.versions
    as_of: datetime | None = config.offline_store.as_of
    return next((versions[name] for name in names if name in versions), as_of)


def check_pins(config: RepoConfig, registry: BaseRegistry, project: str) -> None:
    """Refuse a pin that no table answers to: it would pin nothing.

    Raises:
        OfflineStoreError: a name in ``versions`` is unknown.
    """
    versions: dict[str, int] = config.offline_store.versions
    if versions:
        _check_names(versions, _sources(registry, project))


def _sources(registry: BaseRegistry, project: str) -> dict[str, str]:
    """Return the name of each feature view's source, by that of the view."""
    views = [
        *registry.list_feature_views(project, allow_cache=True),
        *registry.list_stream_feature_views(project, allow_cache=True),
    ]
    return {view.name: view.batch_source.name for view in views if view.batch_source is not None}


def _check_names(versions: Mapping[str, int], sources: Mapping[str, str]) -> None:
    known = {*sources, *sources.values()}
    for name in sorted(set(versions) - known):
        raise OfflineStoreError(
            "versions",
            expected="names of feature views or of their sources",
            found=repr(name),
            remedy=f"They are {', '.join(sorted(known))}." if known else "",
        )


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
