"""The spool: what waits on the disk, and what a damaged file or a second process does."""

from __future__ import annotations

from pathlib import Path

from inference_pipeline.prediction_log.rows import Answered, logged_rows
from inference_pipeline.prediction_log.spool import open_spool
from inference_pipeline.prediction_log.table import InMemoryPredictionTable
from shared.predictions import PREDICTION_LOG, prediction_schema
from tests.inference.answers_to_log import ANSWERED, ASKED, answer, logged, logging, questions


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
