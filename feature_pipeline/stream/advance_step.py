"""The stateful step: events of a partition in, rows of the feature views out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from bytewax.operators import StatefulBatchLogic

from feature_pipeline.definition.activity import ActivityState
from feature_pipeline.definition.records import KnownLabel, KnownMention
from feature_pipeline.definition.transform import EventTables, States, Tables, transform
from feature_pipeline.eventlog.port import Entry, LogBatch
from feature_pipeline.stream.first_error import FirstError
from shared.features import ROLES, Role
from shared.task import Task

Snapshot = dict[str, bytes]
"""The states of a partition by role, as Arrow IPC."""


@dataclass(frozen=True)
class Changes:
    """Rows by feature view, complete for a partition up to a watermark."""

    partition: int
    tables: Tables
    watermark: datetime


class AdvanceLogic(StatefulBatchLogic[LogBatch, Changes, Snapshot]):
    """Keeps the states of one partition and advances them with each batch."""

    def __init__(
        self,
        task: Task,
        initial: Callable[[int], States],
        saved: Snapshot | None,
        errors: FirstError | None = None,
    ) -> None:
        """Resume from what was saved, or begin with a partition's initial states.

        Bytewax does not tell a step its key, so the initial states are looked up when the first
        batch comes, which names its partition.
        """
        self._task = task
        self._initial = initial
        self._errors = errors or FirstError()
        self._states: States | None = None
        if saved is not None:
            self._states = {role: ActivityState.from_bytes(saved[role]) for role in ROLES}

    def on_batch(self, values: list[LogBatch]) -> tuple[Iterable[Changes], bool]:
        """Advance over the batches, taken as one."""
        with self._errors:
            return [self._advance(values)], StatefulBatchLogic.RETAIN

    def _advance(self, values: list[LogBatch]) -> Changes:
        states = self._states if self._states is not None else self._initial(values[0].partition)
        entries = [entry for batch in values for entry in batch.entries]
        # A log's own time may stand before the end of history, where the states stand.
        watermark = max(values[-1].watermark, *(state.watermark for state in states.values()))
        events = {role: _events_of(role, entries) for role in ROLES}
        self._states, tables = transform(self._task, states, events, watermark)
        return Changes(values[0].partition, tables, watermark)

    def snapshot(self) -> Snapshot:
        """Return the states for Bytewax to keep."""
        return {role: state.to_bytes() for role, state in (self._states or {}).items()}


def _events_of(role: Role, entries: list[Entry]) -> EventTables:
    mine = [entry.event for entry in entries if role in entry.roles]
    return EventTables.of(
        [event for event in mine if isinstance(event, KnownMention)],
        [event for event in mine if isinstance(event, KnownLabel)],
    )
