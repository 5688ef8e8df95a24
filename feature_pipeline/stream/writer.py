"""Writing the feature store: the last row of each key online at once, every row offline soon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import polars as pl

from feature_pipeline.eventlog.clock import Clock, utc_now
from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from feature_pipeline.stream.advance_step import Changes
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.patience import Patience
from shared.features import ROLES, activity_view, join_key
from shared.logs import get_logger

_log = get_logger(__name__)


class StoreWriter:
    """Writes the changes of a worker's partitions to both sides of the store.

    Online each batch counts at once. Offline a commit costs the same for one row as for thousands,
    so changes are held until one is due, and for no longer than an epoch: a state is saved after
    the rows that it has counted are committed. What is lost with the process stands in the log
    still, where only what is saved counts as acknowledged. The replay from the last saved state
    makes the same rows again, however it is cut: the offline tables drop those that they hold, and
    online each key ends with the row that it had.

    While a store is away a batch waits, and no epoch ends. Writing it again is safe for the same
    reasons, also when nobody knows whether a commit happened.
    """

    def __init__(
        self,
        offline: OfflineTables,
        online: OnlineViews,
        *,
        metrics: StreamMetrics,
        watch: StreamWatch,
        patience: Patience,
        commit_after: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        """Write to a store that is open.

        Args:
            offline: gets every row.
            online: gets the last row of each key.
            metrics: told what was written, and how long it took.
            watch: looks at what is committed.
            patience: waits for a side that is away.
            commit_after: for how long rows may be held.
            clock: tells how long they have been held.
        """
        self._offline = offline
        self._online = online
        self._metrics = metrics
        self._watch = watch
        self._patience = patience
        self._commit_after = commit_after
        self._clock = clock
        self._held: list[Changes] = []
        self.due: datetime | None = None
        """When a commit is due; None: nothing is held."""

    def write_online(self, changes: Sequence[Changes]) -> None:
        """Write the last row of each key.

        Raises:
            StateError: the online store was away for too long.
        """
        self._patience(lambda: self._write_online(changes))
        for one in changes:
            self._metrics.readable(one.partition, one.tables, one.watermark)

    def hold(self, changes: Iterable[Changes]) -> None:
        """Keep rows for the next commit."""
        self._held += changes
        if self.due is None:
            self.due = self._clock() + self._commit_after

    def commit_if_due(self) -> None:
        """Commit when the time has come; see ``commit``."""
        if self.due is not None and self.due <= self._clock():
            self.commit()

    def commit(self) -> None:
        """Write what is held to the offline tables; one commit per feature view.

        Raises:
            StateError: the offline tables were away for too long; the rows are still held.
        """
        if not self._held:
            return
        self._patience(self._write_offline)
        self._watch.observe(changes.tables for changes in self._held)
        self._held, self.due = [], None

    def _write_online(self, changes: Sequence[Changes]) -> None:
        with self._metrics.writing("online"):
            for role in ROLES:
                view, key = activity_view(role), join_key(role)
                changelog = pl.concat([one.tables[view] for one in changes])
                if not changelog.is_empty():
                    keys = self._online.write(view, key, changelog)
                    self._metrics.wrote("online", view, keys)
                    _log.debug("wrote online", view=view, keys=keys, rows=changelog.height)

    def _write_offline(self) -> None:
        with self._metrics.writing("offline"):
            for view in self._held[0].tables:
                rows = self._offline.append(view, _by_partition(self._held, view))
                self._metrics.wrote("offline", view, rows)


def _by_partition(held: list[Changes], view: str) -> dict[int, tuple[pl.DataFrame, datetime]]:
    """Return rows and last watermark per partition."""
    frames: dict[int, list[pl.DataFrame]] = {}
    for changes in held:
        frames.setdefault(changes.partition, []).append(changes.tables[view])
    watermarks = {changes.partition: changes.watermark for changes in held}
    return {
        partition: (pl.concat(rows), watermarks[partition]) for partition, rows in frames.items()
    }
