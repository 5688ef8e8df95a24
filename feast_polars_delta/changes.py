"""The rows to ask for when none are given: the moments at which a table changed, by key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from feast_polars_delta.entity_rows import EntityRows
from feast_polars_delta.errors import OfflineStoreError, explained
from feast_polars_delta.point_in_time import ViewColumns

_TIMESTAMP = "event_timestamp"


def changes_between(start: datetime, end: datetime, views: Sequence[ViewColumns]) -> EntityRows:
    """Return each key and time of a row in any of the views' tables, ends included, in order.

    Views without keys follow those with keys; alone, they give the times at which they changed.

    Raises:
        OfflineStoreError: the views have different keys, or the tables cannot be read.
    """
    keyed = [view for view in views if view.keys] or list(views)
    keys = list(keyed[0].keys.values())
    for view in keyed:
        if set(view.keys.values()) != set(keys):
            raise OfflineStoreError(
                view.table.path,
                expected=f"the join keys of the other views, {', '.join(keys)}",
                found=", ".join(view.keys.values()),
                remedy="Give an entity dataframe, or ask for these views one at a time.",
            )
    changes = [_changes(view, keys, start, end) for view in keyed]
    place = ", ".join(view.table.path for view in keyed)
    with explained(place, expected=f"join keys {', '.join(keys)} of one type"):
        frame = pl.concat(changes, how="vertical_relaxed")
    frame = frame.unique().sort(_TIMESTAMP, *keys)
    return EntityRows(frame, _TIMESTAMP, earliest=start, latest=end)


def _changes(
    view: ViewColumns, keys: Sequence[str], start: datetime, end: datetime
) -> pl.DataFrame:
    at = view.table.moment(view.timestamp)
    column_of = {ours: theirs for theirs, ours in view.keys.items()}
    columns = [view.table.column(column_of[key]).alias(key) for key in keys]
    within = at.is_between(pl.lit(start), pl.lit(end))
    return view.table.read(
        lambda rows: rows.filter(within).select(*columns, at.alias(_TIMESTAMP)).drop_nulls()
    ).unique()
