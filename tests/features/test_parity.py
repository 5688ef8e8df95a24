"""Stream = batch: the two drivers of the one definition give the same rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.definition.transform import (
    EventTables,
    Tables,
    empty_states,
    empty_tables,
    transform,
)
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.stream.advance_step import AdvanceLogic
from shared.events import Label, Mention
from shared.features import KNOWN_AT, ROLES
from tests.features.conftest import START, TurnableClock, small_task
from tests.features.parity import ParityRun

TASK = small_task()

Post = tuple[int, list[Mention | Label]]
"""Seconds that pass, then a batch of events."""


@st.composite
def posts(draw: st.DrawFn) -> list[Post]:
    """Draw batches of mentions and labels: some late, some posted twice, some corrected."""
    events = st.one_of(
        st.builds(
            lambda number, subject, source, age: Mention(
                mention_id=f"m{number}",
                subject_id=subject,
                source_id=source,
                text=f"NOT fine &amp; number {number}! http://x.io/{number}",
                published_at=START.replace(year=2026 - age),
            ),
            st.integers(0, 15),
            st.sampled_from(["heat", "alien", "brazil"]),
            st.sampled_from(["ann", "bob", "heat"]),
            st.integers(0, 3),
        ),
        st.builds(
            lambda number, value: Label(mention_id=f"m{number}", label=value, labelled_at=START),
            st.integers(0, 15),
            st.sampled_from(TASK.labels),
        ),
    )
    seconds = st.sampled_from([0, 1, 9, 10, 59, 61, 600])
    return draw(st.lists(st.tuples(seconds, st.lists(events, max_size=6)), max_size=12))


@st.composite
def crashes(draw: st.DrawFn) -> tuple[list[int], list[bool]]:
    """Draw how many entries each read takes, and after which reads the worker crashes."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    return sizes, draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))


@settings(max_examples=60)
@given(posts(), crashes())
def test_stream_equals_batch(history: list[Post], faults: tuple[list[int], list[bool]]) -> None:
    """Cut into any batches and crashed after any of them, the stream writes the batch's rows once.

    The offline tables are real Delta tables; a crash loses the worker and its state since the last
    snapshot, so what was written since is sent again, cut differently.
    """
    clock = TurnableClock()
    log = MemoryEventLog(partitions=2, clock=clock)
    for seconds, events in history:
        clock.turn(seconds=seconds)
        log.append(events)
    clock.turn(minutes=30)
    log.heartbeat()
    with tempfile.TemporaryDirectory() as folder:
        tables = OfflineTables(folder)
        tables.create_missing(empty_tables(TASK))
        for partition in range(log.partitions):
            stream(log, partition, tables, *faults)
        written = {view: pl.read_delta(str(tables.path(view))) for view in empty_tables(TASK)}
    for view, rows in batch(log, clock).items():
        order = [rows.columns[0] if view.endswith("_activity") else "mention_id", KNOWN_AT]
        assert rows.sort(order).equals(written[view].select(rows.columns).sort(order)), view


def test_stream_batch_online_and_historical_are_one(tmp_path: Path) -> None:
    """A random stream that crashes at its writes leaves what a batch computes, on both sides.

    What was served at each look at the online store is what history tells of that moment.
    """
    found = ParityRun(seed=7, folder=tmp_path).run(phases=3, events=60)
    assert found.first == ""
    assert found.values > 4_000


def stream(
    log: EventLog, partition: int, tables: OfflineTables, sizes: list[int], crash: list[bool]
) -> None:
    """Run a partition as the dataflow does, with crashes between writing and saving the state."""
    saved, saved_position = None, 0
    logic, position = AdvanceLogic(TASK, lambda _: empty_states(TASK), None), 0
    for step in range(10_000):
        # After a few reads nothing crashes any more, so that the run ends.
        size, crashed = sizes[step % len(sizes)], step < len(crash) and crash[step]
        batch = log.read(partition, position, size)
        ((changes,), _) = logic.on_batch([batch])
        for view, rows in changes.tables.items():
            tables.append(view, {partition: (rows, changes.watermark)})
        if crashed:
            logic = AdvanceLogic(TASK, lambda _: empty_states(TASK), saved)
            position = saved_position
            continue
        position = batch.position
        if step % 2:
            saved, saved_position = logic.snapshot(), position
        if len(batch.entries) < size:
            return
    raise AssertionError("the log did not end")


def batch(log: EventLog, clock: TurnableClock) -> Tables:
    """Compute everything in one call, from the log's events."""
    events: dict[str, KnownEvent] = {}
    for partition in range(log.partitions):
        for entry in log.read(partition, 0, 10_000).entries:
            events[entry.event.known_at.isoformat()] = entry.event
    known = EventTables.of(
        [event for event in events.values() if isinstance(event, KnownMention)],
        [event for event in events.values() if isinstance(event, KnownLabel)],
    )
    return transform(TASK, empty_states(TASK), dict.fromkeys(ROLES, known), clock.now)[1]
