"""The feature store as a Bytewax sink: every row offline, the last row of each key online."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from feature_pipeline.stream.advance_step import Changes
from shared.features import ROLES, activity_view, join_key
from shared.logs import get_logger

KeyedChanges = tuple[str, Changes]

_log = get_logger(__name__)


class StoreWriter(StatelessSinkPartition[KeyedChanges]):
    """Writes changes, offline first.

    After a crash the dataflow sends again what came since its last saved state. The offline tables
    drop rows that they hold. Online, a key shows for a moment the value that it had then, until
    the replay has caught up, as it always does before new events are read.
    """

    def __init__(self, offline: OfflineTables, online: OnlineViews) -> None:
        self._offline = offline
        self._online = online

    def write_batch(self, items: list[KeyedChanges]) -> None:
        """Write the changes of some partitions; one commit per feature view."""
        for view in items[0][1].tables:
            parts = _by_partition(items, view)
            self._offline.append(view, parts)
        for role in ROLES:
            view, key = activity_view(role), join_key(role)
            changelog = pl.concat([changes.tables[view] for _, changes in items])
            if not changelog.is_empty():
                keys = self._online.write(view, key, changelog)
                _log.debug("wrote online", view=view, keys=keys, rows=changelog.height)


class FeatureStoreSink(DynamicSink[KeyedChanges]):
    """Opens the feature store once per worker."""

    def __init__(self, open_store: Callable[[], tuple[OfflineTables, OnlineViews]]) -> None:
        self._open_store = open_store

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StoreWriter:  # noqa: ARG002 - Bytewax's signature
        """Return the worker's writer."""
        return StoreWriter(*self._open_store())


def _by_partition(items: list[KeyedChanges], view: str) -> dict[int, tuple[pl.DataFrame, datetime]]:
    """Return rows and last watermark per partition."""
    parts: dict[int, tuple[pl.DataFrame, datetime]] = {}
    for key, changes in items:
        rows, partition = changes.tables[view], int(key)
        if partition in parts:
            rows = pl.concat([parts[partition][0], rows])
        parts[partition] = (rows, changes.watermark)
    return parts
