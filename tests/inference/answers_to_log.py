"""Answers as the engine gives them to the prediction log, and a log to give them to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path

import pyarrow as pa
from prometheus_client import CollectorRegistry

from inference_pipeline.engine.answer import Answer, Prediction, Question, RowError
from inference_pipeline.features.join import ViewState
from inference_pipeline.prediction_log.limits import LogLimits
from inference_pipeline.prediction_log.log import BufferedPredictionLog, LogMetrics
from inference_pipeline.prediction_log.table import (
    InMemoryPredictionTable,
    PredictionStoreError,
    PredictionTable,
)
from inference_pipeline.versions.registry import ModelVersion

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
