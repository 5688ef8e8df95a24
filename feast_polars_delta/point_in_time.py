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
_HAPPENED = "__feast_polars_delta_happened"
_POSITION = "__feast_polars_delta_position"
_RANK = "__feast_polars_delta_rank"

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
    known_only: bool = False
    """Whether a feature row counts only from the time on at which it was created."""

    @property
    def waits_for_creation(self) -> bool:
        """Whether a row may become known later than it happened."""
        return self.known_only and self.created is not None


class PointInTimeJoin:
    """Entity rows with the features of all views. Files are read by ``collect``, not before.

    Only keys and times are sorted and joined: each entity row gets the position of the feature row
    that it matches. The features, which are most of a table, are read afterwards, a view at a time,
    and taken by position.
    """

    def __init__(self, entities: EntityRows, views: Iterable[ViewColumns]) -> None:
        """Check that all columns are there and fit.

        Raises:
            OfflineStoreError: a column is missing, is of the wrong type, or would stand twice.
        """
        self._entities = entities
        self._views: list[_ViewJoin] = []
        names = set(entities.frame.columns)
        for view in views:
            _check_new(names, view)
            names |= set(view.features)
            self._views.append(_view_join(entities, view))

    def collect(self) -> pl.DataFrame:
        """Return each entity row exactly once, in its place, with features or nulls.

        Raises:
            OfflineStoreError: a table has no rows at all, or its files cannot be read.
        """
        frame = self._entities.frame
        asked = frame.lazy().with_columns(self._entities.moment.alias(_AT)).with_row_index(_ROW)
        asked = asked.select(_ROW, _AT, *self._keys()).sort(_AT).collect().lazy()
        return pl.concat([frame, *(view.collect(asked) for view in self._views)], how="horizontal")

    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for view in self._views for key in view.view.keys.values()))


@dataclass(frozen=True)
class _ViewJoin:
    """How the entity rows find their rows in one view."""

    table: SourceTable
    keys: list[pl.Expr]
    """The table's keys, in the types and by the names that the entity rows give them."""
    untyped_keys: list[pl.Expr]
    """Casts of the entity rows' keys that have no values, hence no type, to those of the table."""
    moments: list[pl.Expr]
    """The table's times: when a row happened and, where it says, when it was created."""
    features: list[pl.Expr]
    within: pl.Expr
    """Whether a row is in reach of any entity row."""
    view: ViewColumns

    def collect(self, asked: pl.LazyFrame) -> pl.DataFrame:
        """Return the features of the entity rows, which come sorted by time."""
        # In one pass, so that positions and features are of the same rows whatever is written.
        rows = self.table.read(
            lambda rows: rows.filter(self.within).select(*self.moments, *self.keys, *self.features)
        )
        if rows.is_empty():
            self.table.check_not_empty(self.view.timestamp)
        names = list(self.view.features)
        features = rows.select(names)
        history = _history(rows.select(pl.exclude(names)).lazy(), self.view)
        del rows
        positions = self._positions(asked, history)
        return features.select(pl.all().gather(positions))

    def _positions(self, asked: pl.LazyFrame, history: pl.LazyFrame) -> pl.Series:
        waits = self.view.waits_for_creation
        # join_asof wants both sides in order, and does not check it within groups.
        joined = asked.with_columns(self.untyped_keys).join_asof(
            history,
            on=_AT,
            by=list(self.view.keys.values()) or None,
            strategy="backward",
            tolerance=None if waits else self.view.ttl,
            check_sortedness=False,  # both sides were sorted here; with `by` it would only warn
        )
        position = pl.col(_POSITION)
        if waits and self.view.ttl is not None:
            alive = pl.col(_HAPPENED) >= pl.col(_AT) - self.view.ttl
            position = pl.when(alive).then(position).alias(_POSITION)
        return joined.select(_ROW, position).sort(_ROW).collect()[_POSITION]


def _view_join(entities: EntityRows, view: ViewColumns) -> _ViewJoin:
    table = view.table
    at = table.moment(view.timestamp)
    created = [] if view.created is None else [table.moment(view.created).alias(_CREATED)]
    return _ViewJoin(
        table=table,
        keys=[_key(entities, table, theirs, ours) for theirs, ours in view.keys.items()],
        untyped_keys=[
            pl.col(ours).cast(table.type_of(theirs))
            for theirs, ours in view.keys.items()
            if entities.key_type(ours) == pl.Null
        ],
        moments=[at.alias(_AT), *created],
        features=[table.column(column).alias(name) for name, column in view.features.items()],
        within=_within_reach(entities, view, at),
        view=view,
    )


def _history(rows: pl.LazyFrame, view: ViewColumns) -> pl.LazyFrame:
    """Return times, keys and positions of rows in the order that decides: the last one counts."""
    by = [_AT] if view.created is None else [_AT, _CREATED]
    # Stable, so that a version read twice settles full ties alike.
    history = rows.with_row_index(_POSITION).sort(by, nulls_last=False, maintain_order=True)
    if view.waits_for_creation:
        history = _as_it_became_known(history, list(view.keys.values()))
    return history.drop(_CREATED, strict=False)


def _as_it_became_known(history: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Reorder sorted rows by when they became known, without those that came too late to count.

    A row is known once it has happened and been created; one without a time of creation never is.
    Of the known rows the last in ``history`` counts, so a row that becomes known after a later
    one never does.
    """
    known = history.filter(pl.col(_CREATED).is_not_null()).with_row_index(_RANK)
    known = known.with_columns(
        pl.col(_AT).alias(_HAPPENED), pl.max_horizontal(_AT, _CREATED).alias(_AT)
    ).sort(_AT, _RANK)
    best = pl.col(_RANK).cum_max()
    return known.filter(pl.col(_RANK) == (best.over(keys) if keys else best)).drop(_RANK)


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
