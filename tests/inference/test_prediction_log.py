"""The prediction log: what is written, what a store that is down costs, and what a crash costs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from prometheus_client import CollectorRegistry

from inference_pipeline.engine.answer import Answer, Prediction, Question, RowError
from inference_pipeline.features.join import ViewState
from inference_pipeline.prediction_log.log import BufferedPredictionLog, LogLimits, LogMetrics
from inference_pipeline.prediction_log.rows import Answered, logged_rows
from inference_pipeline.prediction_log.spool import open_spool
from inference_pipeline.prediction_log.table import (
    DeltaPredictionTable,
    InMemoryPredictionTable,
    PredictionStoreError,
    PredictionTable,
)
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import InputError
from shared.feature_store import offline_folder, open_feature_store, read_feature_service
from shared.predictions import PREDICTION_LOG, prediction_schema
from shared.text import fingerprint
from tests.inference.conftest import eventually, ready
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.task_store import open_task_store, written
from tests.inference.test_process import serving
from tests.inference.tiny_model import TinyModel

ASKED = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWERED = ASKED + timedelta(milliseconds=20)
QUICK = LogLimits(
    spool_interval=timedelta(milliseconds=5), commit_interval=timedelta(milliseconds=20)
)


def prediction(**changes: object) -> Prediction:
    values: dict[str, object] = {
        "label": "positive",
        "probabilities": {"negative": 0.25, "positive": 0.75},
        "subject_id": "united",
        "source_id": "ann",
        "features": {"subject_activity__mentions_24h": 3.0, "source_activity__mentions_24h": nan},
        "views": {
            "subject_activity": ViewState("present", 60.0),
            "source_activity": ViewState("missing", None),
        },
        "degraded": False,
    }
    return Prediction(**{**values, **changes})  # type: ignore[arg-type]  # values fit by name


def answer(*predictions: Prediction | RowError) -> Answer:
    version = ModelVersion("tiny", "7", created=0)
    return Answer(version, "champion", "int8", list(predictions or [prediction()]))


def questions(count: int = 1) -> list[Question]:
    return [Question("", f"Great &amp; late {n}") for n in range(count)]


class Unsteady:
    """A table that is up or down as told, and may fail after it wrote."""

    def __init__(self, table: PredictionTable) -> None:
        self.table = table
        self.up = True
        self.tells = True

    def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
        if not self.up:
            raise PredictionStoreError("store", expected="an answer", found="none")
        self.table.append(rows, marks)
        if not self.tells:
            raise PredictionStoreError("store", expected="an answer", found="none in time")

    def mark(self, name: str) -> int | None:
        if not self.up:
            raise PredictionStoreError("store", expected="an answer", found="none")
        return self.table.mark(name)


class Counts(LogMetrics):
    """The metrics of a log, read by name."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        super().__init__(self._registry)

    def of(self, name: str) -> float:
        return self._registry.get_sample_value(f"fti_inference_prediction_log_{name}") or 0.0


@contextmanager
def logging(
    table: PredictionTable, spool: Path, limits: LogLimits = QUICK
) -> Iterator[tuple[BufferedPredictionLog, Counts]]:
    """Run a log until the context ends, and close it as SIGTERM does."""
    counts = Counts()
    log = BufferedPredictionLog(
        table, spool=spool, metrics=counts, limits=limits, clock=lambda: ANSWERED
    )
    log.start()
    try:
        yield log, counts
    finally:
        log.close()
    assert not log.alive


def offer(log: BufferedPredictionLog, request: int, rows: int = 1) -> None:
    log.offer(answer(*[prediction()] * rows), questions(rows), ASKED, f"r{request}")


def logged(table: InMemoryPredictionTable) -> list[str]:
    """Return the requests in the table, a name for each row."""
    return [name for rows in table.commits for name in rows["request_id"].to_pylist()]


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


@pytest.mark.timeout(120)
def test_a_server_that_ends_has_logged_its_answers(home: Path) -> None:
    """SIGTERM writes what waits: no answer that a client got is missing in the feature store."""
    service = read_feature_service(open_task_store(home), MODEL)
    Publisher(home, service).publish(TinyModel())
    with serving(home) as (process, client):
        ready(client, "1")
        for number in range(20):
            mentions = {"mentions": [{"text": f"late flight {number}"}, {"text": "good"}]}
            client.post("/v1/predict", json=mentions).raise_for_status()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
    rows = written(home, PREDICTION_LOG)
    assert rows["prediction_id"].is_unique().all()
    asked = [text for n in range(20) for text in (f"late flight {n}", "good")]
    assert sorted(rows["text"]) == sorted(asked)


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


def in_memory(_: Path) -> PredictionTable:
    return InMemoryPredictionTable()


def in_delta(home: Path) -> PredictionTable:
    return DeltaPredictionTable(open_task_store(home), PREDICTION_LOG)


def rows_of(table: PredictionTable, home: Path) -> Sequence[str]:
    if isinstance(table, InMemoryPredictionTable):
        return logged(table)
    return written(home, PREDICTION_LOG)["request_id"].to_list()


@pytest.mark.parametrize("make", [in_memory, in_delta])
def test_a_commit_that_nobody_was_told_of_is_not_repeated(
    tmp_path: Path, make: Callable[[Path], PredictionTable]
) -> None:
    """A process that dies between commit and tidying up doubles nothing when it comes back."""
    table = make(tmp_path)
    unsteady = Unsteady(table)
    unsteady.tells = False
    slow = LogLimits(commit_interval=timedelta(hours=1))
    with logging(unsteady, tmp_path / "spool", slow) as (log, _):
        offer(log, 1)
    assert list((tmp_path / "spool").rglob("*.arrow"))
    unsteady.tells = True
    with logging(unsteady, tmp_path / "spool") as (log, _):
        offer(log, 2)
    assert sorted(rows_of(table, tmp_path)) == ["r1", "r2"]
    assert not list((tmp_path / "spool").rglob("*.arrow"))


@pytest.mark.parametrize("make", [in_memory, in_delta])
def test_marks_and_rows_of_a_table_go_together(
    tmp_path: Path, make: Callable[[Path], PredictionTable]
) -> None:
    """Every table remembers the last value of each mark, and knows none that was not set."""
    table = make(tmp_path)
    request = Answered(answer(), questions(), ASKED, ANSWERED, "r1")
    assert table.mark("a") is None
    table.append(logged_rows([request]), {"a": 5, "b": 1})
    table.append(prediction_schema(PREDICTION_LOG).empty_table(), {"b": 0})
    assert (table.mark("a"), table.mark("b")) == (5, 0)
    assert rows_of(table, tmp_path) == ["r1"]


def test_without_the_view_nothing_is_lost(tmp_path: Path) -> None:
    """A log that starts before the feature pipeline ever ran waits for it to make the view."""
    table = DeltaPredictionTable(open_feature_store(tmp_path), PREDICTION_LOG)
    with pytest.raises(PredictionStoreError, match="feature view prediction_log"):
        table.mark("a")
    with logging(table, tmp_path / "spool") as (log, counts):
        offer(log, 1)
        eventually(lambda: counts.of("failures_total"), bool)
        open_task_store(tmp_path)
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 1)


def test_a_row_that_cannot_be_written_is_dropped_alone(tmp_path: Path) -> None:
    """Half a surrogate pair in an id costs its own request, counted, and no other."""
    table = InMemoryPredictionTable()
    with logging(table, tmp_path) as (log, counts):
        offer(log, 1)
        log.offer(answer(prediction(subject_id="\ud800")), questions(), ASKED, "bad")
        offer(log, 2)
    assert logged(table) == ["r1", "r2"]
    assert counts.of("dropped_total") == 1


def test_a_damaged_spool_file_is_put_aside(tmp_path: Path) -> None:
    """A file that cannot be read stops nothing, and stays there for people to look at."""
    schema = prediction_schema(PREDICTION_LOG)
    request = Answered(answer(), questions(), ASKED, ANSWERED, "r1")
    with open_spool(tmp_path, schema) as spool:
        spool.add(logged_rows([request]))
        spool.add(logged_rows([request]))
    first, _ = sorted(tmp_path.rglob("*.arrow"))
    first.write_bytes(first.read_bytes()[:100])
    table = InMemoryPredictionTable()
    with logging(table, tmp_path):
        pass
    assert logged(table) == ["r1"]
    assert [path.name for path in tmp_path.rglob("*.damaged")] == [f"{first.stem}.damaged"]


def test_processes_of_one_home_do_not_share_a_spool(tmp_path: Path) -> None:
    """The second process has its own, and the next one goes on with what the first left."""
    schema = prediction_schema(PREDICTION_LOG)
    with open_spool(tmp_path, schema) as first:
        with open_spool(tmp_path, schema) as second:
            assert first.id != second.id
        ids = (first.id, second.id)
    with open_spool(tmp_path, schema) as again, open_spool(tmp_path, schema) as other:
        assert (again.id, other.id) == ids


def test_a_spool_counts_on(tmp_path: Path) -> None:
    """A batch never gets the number of one that was written before."""
    schema = prediction_schema(PREDICTION_LOG)
    request = Answered(answer(), questions(), ASKED, ANSWERED, "r1")
    numbers = []
    for _ in range(3):
        with open_spool(tmp_path, schema) as spool:
            spool.add(logged_rows([request]))
            batch = spool.take(10)
            assert batch is not None
            numbers.append(batch[1])
            spool.forget(batch[1])
            assert spool.take(10) is None
    assert numbers == [1, 2, 3]
