"""What a backfill or a rebuild hands over to the stream: where it goes on, and with what state."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from feature_pipeline.definition.activity import ActivityState
from feature_pipeline.definition.transform import States, empty_states
from feature_pipeline.eventlog.port import partition_of
from shared.errors import StateError
from shared.events import EARLIEST
from shared.features import ROLES
from shared.task import Task

Work = Literal["backfill", "rebuild"]
"""What writes the store anew, by its command."""

_REMEDY = (
    "Bring the file back from a backup; or run `python -m feature_pipeline rebuild --accept-loss`,"
    " which does not read it: whether the tables hold all that was counted is not checked then."
)


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

    @classmethod
    def nothing(cls, task: Task) -> Handed:
        """Return what stands before the first handover."""
        return cls(empty_states(task), {}, EARLIEST)


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
        self._parts: dict[tuple[str, int], dict[int, ActivityState]] = {}

    def begin(self, work: Work) -> None:
        """Note that the store is being written anew, until ``finish``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._begun, work.encode())

    def finish(self) -> None:
        """Note that everything stands again; or still, since nothing was changed."""
        self._begun.unlink(missing_ok=True)

    @property
    def interrupted(self) -> bool:
        """Whether the store began to be written anew, and that did not end."""
        return self._begun.exists()

    def check_finished(self, *works: Work) -> None:
        """Check that nothing that writes the store anew was interrupted.

        Args:
            works: what is looked for; by default both.

        Raises:
            StateError: it was.
        """
        begun = self._begun.read_text(encoding="utf-8") if self._begun.exists() else None
        if begun in (works or get_args(Work)):
            raise StateError(
                f"features in {self._folder}",
                expected=f"a finished {begun}",
                found="one that was interrupted",
                remedy=f"Run `python -m feature_pipeline {begun}` again.",
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
        self._parts.clear()
        _write(self._positions, json.dumps(positions or {}).encode())

    def load(self, task: Task, partition: int, partitions: int) -> States:
        """Return a partition's part of the states; empty ones where there was no history.

        Raises:
            StateError: a file is damaged, or gone while others of them are there.
        """
        self._check_together()
        states = empty_states(task)
        for role in ROLES:
            if self._path(role).exists():
                states[role] = self._take(role, partition, partitions)
        return states

    def _take(self, role: str, partition: int, partitions: int) -> ActivityState:
        """Return a partition's part of a role's states, which is not kept any longer.

        The file is read and split once for all partitions, or again if a part is asked for twice.
        """
        parts = self._parts.get((role, partitions), {})
        if partition not in parts:
            whole = self._read_state(role)
            parts = self._parts[role, partitions] = _split(whole, role, partitions)
        return parts.pop(partition)

    def position(self, partition: int) -> int:
        """Return the last position of a partition that the states count.

        Raises:
            StateError: the file of positions is damaged, or files are gone that belong to it.
        """
        self._check_together()
        return self._read_positions().get(partition, 0)

    def last(self, task: Task) -> Handed:
        """Return all that was handed over; nothing, and the beginning of time, where nothing was.

        Raises:
            StateError: the files are damaged, or do not belong together.
        """
        self._check_together()
        states = empty_states(task)
        for role in ROLES:
            if self._path(role).exists():
                states[role] = self._read_state(role)
        watermarks = {state.watermark for state in states.values()}
        if len(watermarks) > 1:
            raise StateError(
                f"handed over states in {self._folder}",
                expected="those of one moment",
                found=", ".join(f"{moment:%Y-%m-%d %H:%M:%S.%f}" for moment in sorted(watermarks)),
                remedy=_REMEDY,
            )
        return Handed(states, self._read_positions(), watermarks.pop())

    def _check_together(self) -> None:
        """Check that all files are there, or none: a lost one must not pass for no history."""
        files = [*(self._path(role) for role in ROLES), self._positions]
        gone = [path for path in files if not path.exists()]
        if gone and len(gone) < len(files):
            raise StateError(
                str(gone[0]),
                expected="a file, beside the others that were handed over with it",
                found="none",
                remedy=_REMEDY,
            )

    def _read_positions(self) -> dict[int, int]:
        if not self._positions.exists():
            return {}
        try:
            found = json.loads(self._positions.read_bytes())
            return {int(partition): int(position) for partition, position in found.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise _damaged(self._positions, "a position for each partition", error) from error

    def _read_state(self, role: str) -> ActivityState:
        content = self._path(role).read_bytes()
        try:
            return ActivityState.from_bytes(content)
        except (pl.exceptions.PolarsError, OSError, LookupError, TypeError, ValueError) as error:
            raise _damaged(self._path(role), "states in Arrow's format", error) from error

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}_state.arrow"


def _damaged(path: Path, expected: str, error: Exception) -> StateError:
    told = (str(error) or type(error).__name__).splitlines()[0]
    return StateError(str(path), expected=expected, found=told, remedy=_REMEDY)


def _split(whole: ActivityState, role: str, partitions: int) -> dict[int, ActivityState]:
    keys: list[list[str]] = [[] for _ in range(partitions)]
    for key in whole.totals["key"]:
        keys[partition_of(f"{role}:{key}", partitions)].append(key)
    return {
        partition: whole.of_keys(pl.Series("key", some, dtype=pl.String))
        for partition, some in enumerate(keys)
    }


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
