"""What a backfill hands over to the stream: the state of each role at its watermark."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl

from feature_pipeline.definition.activity import ActivityState
from feature_pipeline.definition.transform import States, empty_states
from feature_pipeline.eventlog.port import partition_of
from shared.features import ROLES
from shared.task import Task


class Handover:
    """The states at the end of history, in one file per role.

    Attributes:
        recovery: where the stream keeps its own states, which a new handover makes void.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.recovery = folder / "recovery"

    def save(self, states: States) -> None:
        """Keep the states; each file is whole or as it was before. No stream may be running."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.recovery.exists():
            shutil.rmtree(self.recovery)
        for role in ROLES:
            path = self._path(role)
            unfinished = path.with_suffix(".tmp")
            with unfinished.open("wb") as file:
                file.write(states[role].to_bytes())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)

    def load(self, task: Task, partition: int, partitions: int) -> States:
        """Return a partition's part of the states; empty ones where there was no history."""
        states = empty_states(task)
        for role in ROLES:
            path = self._path(role)
            if path.exists():
                whole = ActivityState.from_bytes(path.read_bytes())
                keys = [
                    key
                    for key in whole.totals["key"]
                    if partition_of(f"{role}:{key}", partitions) == partition
                ]
                states[role] = whole.of_keys(pl.Series("key", keys, dtype=pl.String))
        return states

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}_state.arrow"
