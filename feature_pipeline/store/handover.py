"""What a backfill or a rebuild hands over to the stream: where it goes on, and with what state."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from feature_pipeline.definition.activity import ActivityState
from feature_pipeline.definition.transform import States, empty_states
from feature_pipeline.eventlog.port import partition_of
from shared.errors import StateError
from shared.features import ROLES
from shared.task import Task


@dataclass(frozen=True)
class Handed:
    """What was handed over last.

    Attributes:
        states: of all keys, at the watermark.
        positions: by partition, that of the last log entry that the states have counted.
    """

    states: States
    positions: Mapping[int, int]
    watermark: datetime


class Handover:
    """The states at a watermark, in one file per role, and the log's positions there.

    Attributes:
        recovery: where the stream keeps its own states, which a new handover makes void.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun = folder / "handover.unfinished"
        self._positions = folder / "handover_positions.json"
        self.recovery = folder / "recovery"

    def begin(self) -> None:
        """Keep the stream from running until ``save`` is done: the store is being written anew."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._begun.touch()

    def check_finished(self) -> None:
        """Check that nothing that writes the store anew was interrupted.

        Raises:
            StateError: it was.
        """
        if self._begun.exists():
            raise StateError(
                f"features in {self._folder}",
                expected="a finished rebuild",
                found="one that was interrupted",
                remedy="Run `python -m feature_pipeline rebuild` again.",
            )

    def save(self, states: States, positions: Mapping[int, int] | None = None) -> None:
        """Keep the states; each file is whole or as it was before. No stream may be running.

        Args:
            states: of all keys.
            positions: by partition, the last log entry that they count; none: the log is empty.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.recovery.exists():
            shutil.rmtree(self.recovery)
        for role in ROLES:
            _write(self._path(role), states[role].to_bytes())
        _write(self._positions, json.dumps(positions or {}).encode())
        self._begun.unlink(missing_ok=True)

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

    def position(self, partition: int) -> int:
        """Return the last position of a partition that the states count."""
        return self._read_positions().get(partition, 0)

    def last(self, task: Task) -> Handed:
        """Return all that was handed over; nothing, and the beginning of time, where nothing was.

        Raises:
            StateError: the files do not belong together.
        """
        states = empty_states(task)
        for role in ROLES:
            if self._path(role).exists():
                states[role] = ActivityState.from_bytes(self._path(role).read_bytes())
        watermarks = {state.watermark for state in states.values()}
        if len(watermarks) > 1:
            raise StateError(
                f"handed over states in {self._folder}",
                expected="those of one moment",
                found=", ".join(f"{moment:%Y-%m-%d %H:%M:%S.%f}" for moment in sorted(watermarks)),
                remedy="Run `python -m feature_pipeline rebuild --from offline`.",
            )
        return Handed(states, self._read_positions(), watermarks.pop())

    def _read_positions(self) -> dict[int, int]:
        if not self._positions.exists():
            return {}
        found = json.loads(self._positions.read_text(encoding="utf-8"))
        return {int(partition): position for partition, position in found.items()}

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}_state.arrow"


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
