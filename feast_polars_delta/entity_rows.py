"""The rows that features are asked for: an entity dataframe as Polars, with its moments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import polars as pl
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.source_table import as_moment

PLACE = "entity dataframe"


@dataclass(frozen=True)
class EntityRows:
    """An entity dataframe: its columns in order, times in UTC."""

    frame: pl.DataFrame
    timestamp: str
    """The column that tells the time as of which a row asks."""
    earliest: datetime | None
    """In UTC, as is ``latest``; None when no row has a time."""
    latest: datetime | None

    def key_type(self, column: str) -> pl.DataType:
        """Return the type of a join key; Null if it has no values, since pandas then invents one.

        Raises:
            OfflineStoreError: there is no such column.
        """
        if column not in self.frame.columns:
            raise OfflineStoreError(
                PLACE,
                column=column,
                expected="a column of that name, as a join key",
                found=f"only {', '.join(map(repr, self.frame.columns))}",
            )
        values = self.frame[column]
        return pl.Null() if values.null_count() == len(values) else values.dtype

    @property
    def moment(self) -> pl.Expr:
        """The times of the rows in UTC microseconds."""
        dtype = self.frame.schema[self.timestamp]
        if not isinstance(dtype, pl.Datetime):
            raise TypeError(f"read_entity_rows left {self.timestamp!r} as {dtype}")
        return as_moment(self.timestamp, dtype)


def read_entity_rows(entity_df: object) -> EntityRows:
    """Take over a pandas entity dataframe.

    The column of times is found as Feast's own stores find it. Naive times are UTC, others are
    converted; a missing one stays missing, and its row matches nothing.

    Raises:
        OfflineStoreError: it is no pandas dataframe, or a column has no single type.
        EntityTimestampInferenceException: Feast finds no column of times, or several.
    """
    if not isinstance(entity_df, pd.DataFrame):
        raise OfflineStoreError(
            PLACE, expected="a pandas DataFrame", found=type(entity_df).__name__
        )
    names = entity_df.columns.astype(str)
    if not names.is_unique:
        raise OfflineStoreError(
            PLACE,
            column=names[names.duplicated()][0],
            expected="each column once",
            found="it more than once",
        )
    timestamp = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
    columns = {
        str(name): _times(values) if name == timestamp else _values(values)
        for name, values in entity_df.items()
    }
    frame = pl.DataFrame(columns)
    rows = EntityRows(frame, timestamp, earliest=None, latest=None)
    bounds = frame.select(low=rows.moment.min(), high=rows.moment.max()).row(0)
    return EntityRows(frame, timestamp, earliest=bounds[0], latest=bounds[1])


def _times(values: pd.Series) -> pl.Series:
    """Return times in UTC; what pandas does not hold as times it parses, which takes longer."""
    column = str(values.name)
    with explained(PLACE, column=column, expected="times"):
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return pl.from_pandas(values).dt.convert_time_zone("UTC")
        if values.dtype.kind == "M":
            return pl.from_pandas(values).dt.replace_time_zone("UTC")
        parsed = values.dtype.kind == "O" or isinstance(values.dtype, pd.StringDtype)
        if not parsed and values.notna().any():
            raise OfflineStoreError(
                PLACE,
                column=column,
                expected="times",
                found=f"type {values.dtype}",
                remedy="Convert it with pandas.to_datetime, which must be told the unit.",
            )
        return pl.from_pandas(pd.to_datetime(values, utc=True))


def _values(values: pd.Series) -> pl.Series:
    with explained(PLACE, column=str(values.name), expected="values of one type"):
        return pl.from_pandas(values)
