"""The offline tables: each row once, however a replay comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.store.offline_tables import OfflineTables
from shared.events import EARLIEST
from shared.features import KNOWN_AT
from tests.features.conftest import START

VIEW = "mention_label"


def rows(*seconds: int) -> pl.DataFrame:
    moments = [START + timedelta(seconds=second) for second in seconds]
    schema = pl.Schema({KNOWN_AT: MOMENT, "label": pl.String()})
    return pl.DataFrame({KNOWN_AT: moments, "label": ["x"] * len(seconds)}, schema=schema)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


@pytest.fixture
def tables(tmp_path: Path) -> OfflineTables:
    made = OfflineTables(str(tmp_path))
    made.create_missing({VIEW: rows()})
    return made


def seconds_in(tables: OfflineTables) -> list[float]:
    written = pl.read_delta(str(tables.path(VIEW)))[KNOWN_AT]
    return sorted((moment - START).total_seconds() for moment in written)


def test_rows_that_come_again_are_dropped(tables: OfflineTables) -> None:
    """A replay that is cut otherwise adds only what is new."""
    assert tables.append(VIEW, {0: (rows(1, 2), at(2))}) == 2
    assert tables.append(VIEW, {0: (rows(2, 3), at(3))}) == 1
    assert tables.append(VIEW, {0: (rows(1), at(1))}) == 0
    assert seconds_in(tables) == [1, 2, 3]


def test_lagging_replay_does_not_take_a_mark_back(tables: OfflineTables) -> None:
    """A partition that lags in a replay keeps its mark when another one's rows are committed."""
    tables.append(VIEW, {0: (rows(1), at(1)), 1: (rows(5), at(5))})
    tables.append(VIEW, {0: (rows(2), at(2)), 1: (rows(), at(3))})
    assert tables.append(VIEW, {1: (rows(5), at(5))}) == 0
    assert seconds_in(tables) == [1, 2, 5]


@pytest.mark.parametrize("raised", [KeyError("a part"), KeyboardInterrupt()], ids=type)
def test_what_a_part_raises_is_raised_and_nothing_is_committed(
    tables: OfflineTables, raised: BaseException
) -> None:
    """An error of the rows is told as it is, not as one of the table; that stays as it was."""
    tables.append(VIEW, {0: (rows(1), at(1))})

    def parts() -> Iterator[pl.DataFrame]:
        yield rows(2)
        raise raised

    with pytest.raises(type(raised)) as caught:
        tables.replace(VIEW, parts(), at(3), partitions=1)
    assert caught.value is raised
    assert seconds_in(tables) == [1]


def test_tables_are_complete_up_to_the_partition_that_lags(tables: OfflineTables) -> None:
    """A view without new rows holds nothing up; a partition without any does."""
    views = [VIEW, "idle", "not made"]
    tables.create_missing({"idle": rows()})
    tables.append(VIEW, {0: (rows(1), at(5))})
    assert tables.complete_until(views, partitions=2) == EARLIEST
    tables.append("idle", {1: (rows(2), at(2))})
    tables.append(VIEW, {1: (rows(3), at(3))})
    assert tables.complete_until(views, partitions=2) == at(3)
