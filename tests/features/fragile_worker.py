"""A stream worker and its stores that die where they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl
from feast import FeatureStore

from feature_pipeline.definition.transform import (
    States,
    empty_states,
)
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import FeastRows, OnlineViews
from feature_pipeline.stream.advance_step import AdvanceLogic, Snapshot
from feature_pipeline.stream.writer import StoreWriter
from shared.task import Task


class CrashError(Exception):
    """The worker dies here."""


class Fragile:
    """Counts writes, and dies before the one that was drawn."""

    def __init__(self) -> None:
        self.left: int | None = None

    def write(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise CrashError


class FragileTables(OfflineTables):
    """Delta tables whose writer may die before a commit."""

    def __init__(self, folder: str, fragile: Fragile) -> None:
        super().__init__(folder)
        self._fragile = fragile

    def append(self, view: str, parts: Mapping[int, tuple[pl.DataFrame, datetime]]) -> int:
        self._fragile.write()
        return super().append(view, parts)


class FragileViews(OnlineViews):
    """An online store whose writer may die before a write."""

    def __init__(self, store: FeatureStore, fragile: Fragile) -> None:
        super().__init__(store, FeastRows(store))
        self._fragile = fragile

    def write(
        self,
        view: str,
        key: str,
        changelog: pl.DataFrame,
        on_rows: Callable[[int], object] = lambda _: None,
    ) -> int:
        self._fragile.write()
        return super().write(view, key, changelog, on_rows)


class Worker:
    """A stream worker of one partition: its state, what it holds, and what of that is saved."""

    def __init__(
        self, task: Task, log: EventLog, partition: int, open_writer: Callable[[], StoreWriter]
    ) -> None:
        self._task = task
        self._log = log
        self._partition = partition
        self._open_writer = open_writer
        self._saved: Snapshot | None = None
        self._saved_position = 0
        self.crash()

    def crash(self) -> None:
        """Lose everything but what was saved."""
        self._writer = self._open_writer()
        self._logic = AdvanceLogic(self._task, self._nothing_before, self._saved)
        self._position = self._saved_position

    def step(self, limit: int) -> bool:
        """Read, advance and write online once; return whether the log held more."""
        batch = self._log.read(self._partition, self._position, limit)
        ((changes,), _) = self._logic.on_batch([batch])
        self._writer.hold([changes])
        self._writer.write_online([changes])
        self._position = batch.position
        return len(batch.entries) == limit

    def commit(self) -> None:
        """Commit offline what is held, as when it is due."""
        self._writer.commit()

    def save(self) -> None:
        """Commit, and save state and position, as at the end of an epoch."""
        self._writer.commit()
        self._saved, self._saved_position = self._logic.snapshot(), self._position

    def _nothing_before(self, _: int) -> States:
        return empty_states(self._task)
