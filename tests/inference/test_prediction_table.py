"""The tables of predictions: rows and marks go together, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from inference_pipeline.prediction_log.limits import LogLimits
from inference_pipeline.prediction_log.rows import Answered, logged_rows
from inference_pipeline.prediction_log.table import (
    DeltaPredictionTable,
    InMemoryPredictionTable,
    PredictionStoreError,
    PredictionTable,
)
from shared.feature_store import open_feature_store
from shared.places import Places
from shared.predictions import PREDICTION_LOG, prediction_schema
from tests.inference.answers_to_log import (
    ANSWERED,
    ASKED,
    Unsteady,
    answer,
    logged,
    logging,
    offer,
    questions,
)
from tests.inference.conftest import eventually
from tests.inference.task_store import open_task_store, written


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
    table = DeltaPredictionTable(open_feature_store(Places.embedded(tmp_path)), PREDICTION_LOG)
    with pytest.raises(PredictionStoreError, match="feature view prediction_log"):
        table.mark("a")
    with logging(table, tmp_path / "spool") as (log, counts):
        offer(log, 1)
        eventually(lambda: counts.of("failures_total"), bool)
        open_task_store(tmp_path)
        eventually(lambda: counts.of("written_total"), lambda rows: rows == 1)
