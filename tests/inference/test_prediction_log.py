"""The prediction log: what is written, what waits, and what a store that is down costs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from inference_pipeline.engine.answer import RowError
from inference_pipeline.prediction_log.limits import LogLimits
from inference_pipeline.prediction_log.table import DeltaPredictionTable, InMemoryPredictionTable
from shared.errors import InputError
from shared.places import offline_folder
from shared.predictions import PREDICTION_LOG
from shared.text import fingerprint
from tests.inference.answers_to_log import (
    ANSWERED,
    ASKED,
    Unsteady,
    answer,
    logged,
    logging,
    offer,
    prediction,
    questions,
)
from tests.inference.conftest import eventually
from tests.inference.task_store import open_task_store, written


def test_a_row_says_what_was_asked_known_and_answered(tmp_path: Path) -> None:
    """Everything about an answer stands in the view that the feature pipeline made for it."""
    store = open_task_store(tmp_path)
    failed = RowError("mentions[1]", InputError("text", expected="a text", found="nothing"))
    with logging(DeltaPredictionTable(store, PREDICTION_LOG), tmp_path / "spool") as (log, counts):
        log.offer(answer(prediction(), failed), questions(2), ASKED, "r1")
    (row,) = written(tmp_path, PREDICTION_LOG).to_dicts()
    assert row.pop("prediction_id").endswith("-0")
    assert row == {
        "event_timestamp": ANSWERED,
        "request_id": "r1",
        "text": "Great & late 0",
        "fingerprint": fingerprint("Great & late 0"),
        "subject_id": "united",
        "source_id": "ann",
        "model": "tiny",
        "version": "7",
        "alias": "champion",
        "variant": "int8",
        "label": "positive",
        "labels": ["negative", "positive"],
        "probabilities": [0.25, 0.75],
        "feature_names": ["subject_activity__mentions_24h", "source_activity__mentions_24h"],
        "feature_values": [3.0, None],
        "view_names": ["subject_activity", "source_activity"],
        "view_statuses": ["present", "missing"],
        "view_ages": [60.0, None],
        "degraded": False,
        "latency_seconds": 0.02,
    }
    assert counts.of("written_total") == 1


def test_feast_reads_what_was_logged(tmp_path: Path) -> None:
    """The log is a feature view like others: Feast joins its columns by prediction and time."""
    store = open_task_store(tmp_path)
    with logging(DeltaPredictionTable(store, PREDICTION_LOG), tmp_path / "spool") as (log, _):
        offer(log, 1)
    (prediction_id,) = written(tmp_path, PREDICTION_LOG)["prediction_id"]
    asked = pl.DataFrame({"prediction_id": [prediction_id], "event_timestamp": [ANSWERED]})
    found = store.get_historical_features(
        entity_df=asked.to_pandas(),
        features=[f"{PREDICTION_LOG}:label", f"{PREDICTION_LOG}:probabilities"],
    ).to_df()
    assert found["label"].tolist() == ["positive"]
    assert list(found["probabilities"][0]) == [0.25, 0.75]


def test_a_backfill_keeps_the_log(tmp_path: Path) -> None:
    """What was answered stays on record when the features are loaded anew."""
    store = open_task_store(tmp_path)
    with logging(DeltaPredictionTable(store, PREDICTION_LOG), tmp_path / "spool") as (log, _):
        offer(log, 1)
    store = open_task_store(tmp_path, anew=True)
    with logging(DeltaPredictionTable(store, PREDICTION_LOG), tmp_path / "spool") as (log, _):
        offer(log, 2)
    assert sorted(written(tmp_path, PREDICTION_LOG)["request_id"]) == ["r1", "r2"]


def test_many_answers_make_few_commits(tmp_path: Path) -> None:
    """Commits follow the clock, not the requests: each is a file in the store."""
    store = open_task_store(tmp_path)
    slow = LogLimits(spool_interval=timedelta(milliseconds=5))
    with logging(DeltaPredictionTable(store, PREDICTION_LOG), tmp_path / "spool", slow) as (log, _):
        for request in range(50):
            offer(log, request, rows=2)
    assert written(tmp_path, PREDICTION_LOG)["prediction_id"].n_unique() == 100
    # One at the start at most, one at the end, after the one that made the table.
    assert DeltaTable(str(offline_folder(tmp_path) / PREDICTION_LOG)).version() <= 2


def test_a_store_that_is_down_costs_nothing_while_there_is_room(tmp_path: Path) -> None:
    """What waits is written when the store is back, each row once, and nothing was dropped."""
    table = InMemoryPredictionTable()
    unsteady = Unsteady(table)
    unsteady.up = False
    with logging(unsteady, tmp_path) as (log, counts):
        for request in range(20):
            offer(log, request)
        eventually(lambda: counts.of("failures_total"), lambda failures: failures >= 2)
        unsteady.up = True
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 20)
    assert logged(table) == [f"r{n}" for n in range(20)]
    assert counts.of("dropped_total") == 0


def test_rows_are_dropped_and_counted_when_all_is_full(tmp_path: Path) -> None:
    """Beyond spool and buffer answers are let go; what was taken before is written later."""
    table = InMemoryPredictionTable()
    unsteady = Unsteady(table)
    unsteady.up = False
    small = LogLimits(
        buffer_rows=4,
        spool_rows=3,
        spool_interval=timedelta(milliseconds=5),
        commit_interval=timedelta(milliseconds=20),
    )
    with logging(unsteady, tmp_path, small) as (log, counts):
        offer(log, 0, rows=3)
        eventually(lambda: counts.of("waiting"), lambda rows: rows == 3)
        eventually(lambda: len(list(tmp_path.rglob("*.arrow"))), bool)
        for request in (1, 2, 3):
            offer(log, request, rows=2)
        assert counts.of("dropped_total") == 2
        unsteady.up = True
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 7)
    assert logged(table) == ["r0"] * 3 + ["r1"] * 2 + ["r2"] * 2


def test_offering_waits_for_nobody(tmp_path: Path) -> None:
    """While the store hangs, answers are taken until the buffer is full."""
    hanging, let_go = threading.Event(), threading.Event()

    class Hanging(InMemoryPredictionTable):
        def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
            hanging.set()
            let_go.wait()
            super().append(rows, marks)

    table = Hanging()
    with logging(table, tmp_path) as (log, counts):
        offer(log, 0)
        assert hanging.wait(10)
        for request in range(1, 2_000):
            offer(log, request)
        let_go.set()
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 2_000)
    assert logged(table) == [f"r{n}" for n in range(2_000)]


def test_the_next_start_writes_what_the_last_could_not(tmp_path: Path) -> None:
    """What SIGTERM leaves because the store is down is not lost."""
    table = InMemoryPredictionTable()
    unsteady = Unsteady(table)
    unsteady.up = False
    with logging(unsteady, tmp_path) as (log, _):
        offer(log, 1)
    assert logged(table) == []
    unsteady.up = True
    with logging(unsteady, tmp_path) as (log, counts):
        offer(log, 2)
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 2)
    assert logged(table) == ["r1", "r2"]


def test_a_row_that_cannot_be_written_is_dropped_alone(tmp_path: Path) -> None:
    """Half a surrogate pair in an id costs its own request, counted, and no other."""
    table = InMemoryPredictionTable()
    with logging(table, tmp_path) as (log, counts):
        offer(log, 1)
        log.offer(answer(prediction(subject_id="\ud800")), questions(), ASKED, "bad")
        offer(log, 2)
    assert logged(table) == ["r1", "r2"]
    assert counts.of("dropped_total") == 1
