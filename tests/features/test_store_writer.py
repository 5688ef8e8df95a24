"""What the stream writes, when, and in which order: online at once, offline when it is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import polars as pl
import pytest

from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.definition.transform import empty_tables
from feature_pipeline.quality.metrics import QualityMetrics
from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.stream.advance_step import Changes
from feature_pipeline.stream.commit_step import CommitLogic
from feature_pipeline.stream.first_error import FirstError
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.patience import Patience
from feature_pipeline.stream.writer import StoreWriter
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_TEXT, SUBJECT_ACTIVITY
from shared.task import Task
from tests.features.conftest import START, TurnableClock
from tests.features.pipeline_processes import PipelineProcesses
from tests.features.stream_process import until

COMMIT_AFTER = timedelta(seconds=1)


class Stores:
    """Both sides of a store, which remember what they are given, in order.

    Attributes:
        writes: the side and the number of rows; offline those of subject_activity only.
        parts: per commit of subject_activity, rows and watermark by partition.
        away: writes offline fail.
    """

    def __init__(self) -> None:
        self.writes: list[tuple[str, int]] = []
        self.parts: list[dict[int, tuple[int, datetime]]] = []
        self.away = False

    def append(self, view: str, parts: Mapping[int, tuple[pl.DataFrame, datetime]]) -> int:
        if self.away:
            raise OSError("no disk")
        rows = sum(rows.height for rows, _ in parts.values())
        if view == SUBJECT_ACTIVITY:
            self.writes.append(("offline", rows))
            self.parts.append({key: (rows.height, until) for key, (rows, until) in parts.items()})
        return rows

    def write(
        self,
        view: str,
        key: str,
        changelog: pl.DataFrame,
        on_rows: Callable[[int], object] = lambda _: None,
    ) -> int:
        del view, key, on_rows
        self.writes.append(("online", changelog.height))
        return changelog.height


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
def writer(stores: Stores, task: Task, clock: TurnableClock) -> StoreWriter:
    metrics = StreamMetrics(clock)
    stop = Event()
    stop.set()  # nothing is waited for
    return StoreWriter(
        stores,  # type: ignore[arg-type]
        stores,  # type: ignore[arg-type]
        metrics=metrics,
        watch=StreamWatch(task, QualityMetrics(metrics.registry)),
        patience=Patience((OSError,), timedelta(seconds=1), stop),
        commit_after=COMMIT_AFTER,
        clock=clock,
    )


@pytest.fixture
def steps(writer: StoreWriter) -> list[CommitLogic]:
    """The step that commits, of two partitions."""
    return [CommitLogic(writer, FirstError()) for _ in range(2)]


def changes(task: Task, partition: int, second: int) -> Changes:
    """Return changes with one row of subject_activity."""
    known_at = START + timedelta(seconds=second)
    tables = empty_tables(task)
    row = pl.DataFrame(
        {"subject_id": ["heat"], KNOWN_AT: [known_at]},
        schema={"subject_id": pl.String, KNOWN_AT: MOMENT},
    )
    tables[SUBJECT_ACTIVITY] = pl.concat([tables[SUBJECT_ACTIVITY], row], how="diagonal")
    return Changes(partition, tables, known_at)


def test_rows_are_handed_on_at_once_and_committed_when_due(
    steps: list[CommitLogic], stores: Stores, task: Task, clock: TurnableClock
) -> None:
    """One commit takes what all partitions hold, with the last watermark of each.

    Then none is due before something is held again::

        partition 0   x     x
        partition 1      x
        second        0.0  0.4   1.0 -> commit
    """
    for partition, second in ((0, 1), (1, 2), (0, 3)):
        one = changes(task, partition, second)
        assert list(steps[partition].on_batch([one])[0]) == [one]
        clock.turn(seconds=0.2)
    assert [step.notify_at() for step in steps] == [START + COMMIT_AFTER] * 2
    steps[0].on_notify()
    assert stores.parts == []
    clock.turn(seconds=0.4)
    for step in steps:
        step.on_notify()
    assert stores.parts == [
        {0: (2, START + timedelta(seconds=3)), 1: (1, START + timedelta(seconds=2))}
    ]
    assert steps[0].notify_at() is None


def test_state_is_given_only_after_its_rows_are_committed(
    steps: list[CommitLogic], stores: Stores, task: Task
) -> None:
    """Asked for its state, the step commits what is held, due or not, and nothing twice."""
    steps[0].on_batch([changes(task, 0, 1)])
    for step in steps:
        step.snapshot()
    assert stores.writes == [("offline", 1)]


def test_no_state_is_given_while_rows_cannot_be_committed(
    steps: list[CommitLogic], stores: Stores, task: Task
) -> None:
    """The step fails, so the epoch does not end; the rows are held until the tables are back."""
    stores.away = True
    steps[0].on_batch([changes(task, 0, 1)])
    with pytest.raises(StateError, match="no disk"):
        steps[0].snapshot()
    stores.away = False
    steps[0].snapshot()
    assert stores.writes == [("offline", 1)]


def test_online_shows_rows_that_are_not_committed_yet(
    writer: StoreWriter, stores: Stores, task: Task
) -> None:
    """What is fresh does not wait for a commit."""
    one = changes(task, 0, 1)
    writer.hold([one])
    writer.write_online([one])
    writer.commit_if_due()
    assert stores.writes == [("online", 1)]
    assert one.tables[MENTION_TEXT].is_empty()


def test_process_commits_when_it_is_due_long_before_an_epoch_ends(tmp_path: Path) -> None:
    """A real worker's rows stand in the tables soon, though no state is saved for ten minutes."""
    pipeline = PipelineProcesses(tmp_path / "home", {"FTI_FEATURES_EPOCH_SECONDS": "600"})
    with pipeline.running("stream") as worker:
        pipeline.append(0, 30)
        until(lambda: pipeline.written("mention_text").height == 30, "the commit")
        with closing(pipeline.open_log()) as log:
            assert not any(log.acknowledged(partition) for partition in range(log.partitions))
    assert worker.exitcode == 0, pipeline.printed()
