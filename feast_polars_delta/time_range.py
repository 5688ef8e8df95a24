"""Reads of one table over a range of time: all rows, or the last one of each key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import polars as pl
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.repo_config import RepoConfig

from feast_polars_delta.opening import open_table
from feast_polars_delta.retrieval_job import PolarsDeltaRetrievalJob
from feast_polars_delta.source_table import SourceTable
from feast_polars_delta.versions import pin_of

Query = Callable[[pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True)
class TableColumns:
    """The columns to read, by their names in the table."""

    keys: list[str]
    features: list[str]
    timestamp: str
    created: str | None = None

    @property
    def times(self) -> list[str]:
        """The columns that tell which of two rows is the later one, first the one that decides."""
        return [self.timestamp, self.created] if self.created else [self.timestamp]


def pull_all(
    config: RepoConfig,
    source: DataSource,
    columns: TableColumns,
    *,
    start: datetime | None,
    end: datetime | None,
) -> PolarsDeltaRetrievalJob:
    """Return a job that reads all rows from start to end, both included; None is no bound."""
    table = open_table(config, source, pin_of(config, source.name))
    return _job(config, source, table, _within(table, columns, start, end))


def pull_latest(
    config: RepoConfig,
    source: DataSource,
    columns: TableColumns,
    *,
    start: datetime | None,
    end: datetime | None,
) -> PolarsDeltaRetrievalJob:
    """Return a job that reads the last row of each key from start to end, both included.

    The last row is the one with the latest timestamp, then with the latest created timestamp. A
    table without keys has one last row, under Feast's dummy key.
    """
    table = open_table(config, source, pin_of(config, source.name))
    within = _within(table, columns, start, end)

    def latest(rows: pl.LazyFrame) -> pl.LazyFrame:
        rows = within(rows).sort(columns.times, nulls_last=False, maintain_order=True)
        if columns.keys:
            return rows.unique(columns.keys, keep="last", maintain_order=True)
        return rows.tail(1).with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))

    return _job(config, source, table, latest)


def _within(
    table: SourceTable, columns: TableColumns, start: datetime | None, end: datetime | None
) -> Query:
    """Return the query for the columns of the rows from start to end."""
    at = table.moment(columns.timestamp)
    bounds = [at.is_not_null()]
    if start is not None:
        bounds.append(at >= pl.lit(_utc(start)))
    if end is not None:
        bounds.append(at <= pl.lit(_utc(end)))
    values = dict.fromkeys([*columns.keys, *columns.features])
    wanted = [
        *(table.column(name) for name in values if name not in columns.times),
        *(table.moment(name) for name in columns.times),
    ]
    return lambda rows: rows.filter(*bounds).select(wanted)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _job(
    config: RepoConfig, source: DataSource, table: SourceTable, query: Query
) -> PolarsDeltaRetrievalJob:
    # Feast names no feature view here, so the version goes by the name of the source.
    versions = {} if table.version is None else {source.name: table.version}
    return PolarsDeltaRetrievalJob(partial(table.read, query), config=config, versions=versions)
