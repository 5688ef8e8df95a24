"""The feature store as a Bytewax sink: every row offline, the last row of each key online."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from feature_pipeline.stream.advance_step import Changes
from feature_pipeline.stream.first_error import FirstError
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.patience import Patience
from shared.features import ROLES, activity_view, join_key
from shared.logs import get_logger

KeyedChanges = tuple[str, Changes]

_log = get_logger(__name__)


class StoreWriter(StatelessSinkPartition[KeyedChanges]):
    """Writes changes, offline first.

    After a crash the dataflow sends again what came since its last saved state. The offline tables
    drop rows that they hold. Online, a key shows for a moment the value that it had then, until
    the replay has caught up, as it always does before new events are read.

    While a store is away a batch waits, and no epoch ends. Writing it again is safe for the same
    reasons: the offline tables drop rows that they hold, also those of a commit of which nobody
    knows whether it happened, and online a key gets the same row again.
    """

    def __init__(
        self,
        offline: OfflineTables,
        online: OnlineViews,
        *,
        metrics: StreamMetrics,
        watch: StreamWatch,
        patience: Patience,
        errors: FirstError,
    ) -> None:
        self._offline = offline
        self._online = online
        self._metrics = metrics
        self._watch = watch
        self._patience = patience
        self._errors = errors

    def write_batch(self, items: list[KeyedChanges]) -> None:
        """Write the changes of some partitions; one commit per feature view."""
        with self._errors:
            self._patience(lambda: self._write_offline(items))
            self._patience(lambda: self._write_online(items))
        for partition, changes in items:
            self._metrics.readable(int(partition), changes.tables, changes.watermark)
        # Last: what is read online does not wait for it.
        self._watch.observe(changes.tables for _, changes in items)

    def _write_offline(self, items: list[KeyedChanges]) -> None:
        with self._metrics.writing("offline"):
            for view in items[0][1].tables:
                rows = self._offline.append(view, _by_partition(items, view))
                self._metrics.wrote("offline", view, rows)

    def _write_online(self, items: list[KeyedChanges]) -> None:
        with self._metrics.writing("online"):
            for role in ROLES:
                view, key = activity_view(role), join_key(role)
                changelog = pl.concat([changes.tables[view] for _, changes in items])
                if not changelog.is_empty():
                    keys = self._online.write(view, key, changelog)
                    self._metrics.wrote("online", view, keys)
                    _log.debug("wrote online", view=view, keys=keys, rows=changelog.height)


class FeatureStoreSink(DynamicSink[KeyedChanges]):
    """Opens the feature store once per worker."""

    def __init__(
        self,
        open_store: Callable[[], tuple[OfflineTables, OnlineViews]],
        metrics: StreamMetrics,
        open_watch: Callable[[], StreamWatch],
        patience: Patience,
    ) -> None:
        self.errors = FirstError()
        self._open_store = open_store
        self._metrics = metrics
        self._open_watch = open_watch
        self._patience = patience

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StoreWriter:  # noqa: ARG002 - Bytewax's signature
        """Return the worker's writer."""
        with self.errors:
            offline, online = self._patience(self._open_store)
        return StoreWriter(
            offline,
            online,
            metrics=self._metrics,
            watch=self._open_watch(),
            patience=self._patience,
            errors=self.errors,
        )


def _by_partition(items: list[KeyedChanges], view: str) -> dict[int, tuple[pl.DataFrame, datetime]]:
    """Return rows and last watermark per partition."""
    parts: dict[int, tuple[pl.DataFrame, datetime]] = {}
    for key, changes in items:
        rows, partition = changes.tables[view], int(key)
        if partition in parts:
            rows = pl.concat([parts[partition][0], rows])
        parts[partition] = (rows, changes.watermark)
    return parts
