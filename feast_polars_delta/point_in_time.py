"""The point-in-time join: for each entity row, the newest feature row at or before its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from feast_polars_delta.entity_rows import EntityRows
from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.source_table import SourceTable

# No column of a user stands in the way of these.
_ROW = "__feast_polars_delta_row"
_AT = "__feast_polars_delta_at"
_CREATED = "__feast_polars_delta_created"

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ViewColumns:
    """What one feature view contributes to the join."""

    table: SourceTable
    keys: dict[str, str]
    """Join keys, from the table's column to the entity dataframe's; none joins every row."""
    features: dict[str, str]
    """Features, from the name in the result to the table's column."""
    timestamp: str
    created: str | None
    """The table's column that settles which of two rows of one time counts: the later made."""
    ttl: timedelta | None
    """How much older than the entity row a feature row may be, that included; None: any age."""


def join_views(entities: EntityRows, views: Iterable[ViewColumns]) -> pl.LazyFrame:
    """Add the features of all views to the entity rows.

    Each entity row comes back exactly once, in its place. Rows sort by time once for all views:
    ``join_asof`` wants both sides ordered, and does not check it within groups.

    Raises:
        OfflineStoreError: a column is missing, is of the wrong type, or would stand twice.
    """
    names = set(entities.frame.columns)
    rows = entities.frame.lazy().with_columns(entities.moment.alias(_AT)).with_row_index(_ROW)
    rows = rows.sort(_AT)
    for view in views:
        _check_new(names, view)
        names |= set(view.features)
        rows = _join(rows, entities, view)
    return rows.sort(_ROW).drop(_ROW, _AT)


def _join(rows: pl.LazyFrame, entities: EntityRows, view: ViewColumns) -> pl.LazyFrame:
    untyped = [
        pl.col(entity_key).cast(view.table.type_of(table_key))
        for table_key, entity_key in view.keys.items()
        if entities.key_type(entity_key) == pl.Null
    ]
    return rows.with_columns(untyped).join_asof(
        _history(entities, view),
        on=_AT,
        by=list(view.keys.values()) or None,
        strategy="backward",
        tolerance=view.ttl,
        check_sortedness=False,  # both sides were sorted here; with `by` it would only warn
    )


def _history(entities: EntityRows, view: ViewColumns) -> pl.LazyFrame:
    """Return the rows of a view that can match, in the order that decides: the last one counts."""
    table = view.table
    keys = [_key(entities, table, theirs, ours) for theirs, ours in view.keys.items()]
    features = [table.column(column).alias(name) for name, column in view.features.items()]
    at = table.moment(view.timestamp)
    created = [] if view.created is None else [table.moment(view.created).alias(_CREATED)]
    history = table.rows.filter(_within_reach(entities, view, at))
    history = history.select(at.alias(_AT), *created, *keys, *features)
    by = [_AT, _CREATED] if created else [_AT]
    # Stable, so that a version read twice settles full ties alike.
    return history.sort(by, nulls_last=False, maintain_order=True).drop(_CREATED, strict=False)


def _within_reach(entities: EntityRows, view: ViewColumns, at: pl.Expr) -> pl.Expr:
    """Return the filter on the table's times that spares reading what no entity row can match."""
    if entities.earliest is None or entities.latest is None:
        return pl.lit(value=False)
    within = at <= pl.lit(entities.latest)
    if view.ttl is not None and view.ttl < entities.earliest - _BEGINNING:
        within &= at >= pl.lit(entities.earliest - view.ttl)
    return within


def _key(entities: EntityRows, table: SourceTable, theirs: str, ours: str) -> pl.Expr:
    """Return a join key of the table in the type that the entity dataframe gives it."""
    expected = table.type_of(theirs)
    found = entities.key_type(ours)
    key = pl.col(theirs).alias(ours)
    if found in (expected, pl.Null):
        return key
    if expected.is_integer() and found.is_integer():
        # A value out of the other's range equals none of its values: null, which matches nothing.
        return key.cast(found, strict=False)
    raise OfflineStoreError(
        table.path,
        column=theirs,
        expected=f"entity column {ours!r} of the table's type {expected}",
        found=f"type {found}",
        remedy="Cast the column of the entity dataframe.",
    )


def _check_new(names: set[str], view: ViewColumns) -> None:
    for name in view.features:
        if name in names:
            raise OfflineStoreError(
                view.table.path,
                column=name,
                expected="a feature name that no other column of the result has",
                found="a column of that name",
                remedy="Ask for full_feature_names, or rename the column.",
            )
