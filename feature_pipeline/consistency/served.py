"""Feature vectors as they were served, from the prediction log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from feature_pipeline.consistency.reading import read_between, registered_view
from shared.features import KNOWN_AT
from shared.predictions import PREDICTION_LOG, prediction_entity

if TYPE_CHECKING:
    from feast import FeatureStore

ASKED, ANSWERED, ENTITY, STATUS = "asked_at", "answered_at", "entity", "status"
PREDICTION = f"{prediction_entity(PREDICTION_LOG)}_id"
_COLUMNS = ["subject_id", "source_id", "feature_names", "feature_values", "view_names"]
_COLUMNS += ["view_statuses", "latency_seconds"]
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class ServedView:
    """What was served of one feature view.

    Attributes:
        view: the feature view.
        join_key: the column that names its entity.
        features: bare names, in the order of the model.
        rows: a row for each prediction: PREDICTION, ENTITY, ASKED, ANSWERED (between the two the
            store was read), STATUS, and each feature as 32-bit float, null where none was served.
    """

    view: str
    join_key: str
    features: list[str]
    rows: pl.DataFrame


def read_served(
    store: FeatureStore, since: datetime, until: datetime, limit: int
) -> list[ServedView]:
    """Return what the newest predictions of a period were made from.

    Args:
        store: keeps the prediction log.
        since: of the answers, included.
        until: of the answers, included.
        limit: how many predictions at most.

    Raises:
        StateError: the store has no prediction log, or it cannot be read.
    """
    log = (
        read_between(store, PREDICTION_LOG, _COLUMNS, since, until)
        .sort(KNOWN_AT, descending=True)
        .head(limit)
    )
    # Models read different features; their names tell them apart.
    names = pl.concat_list("feature_names", "view_names").list.join(_SEPARATOR).alias("names")
    found = []
    for _, rows in log.group_by(names, maintain_order=True):
        features, views = rows.select("feature_names", "view_names").row(0)
        found += [_of_view(store, view, features, views, rows) for view in views]
    return found


def _of_view(
    store: FeatureStore, view: str, features: list[str], views: list[str], rows: pl.DataFrame
) -> ServedView:
    join_key = registered_view(store, view).join_keys[0]
    places = dict(_features_of(view, features))
    values = pl.col("feature_values").list
    return ServedView(
        view,
        join_key,
        list(places),
        rows.select(
            PREDICTION,
            pl.col(join_key).alias(ENTITY),
            (pl.col(KNOWN_AT) - pl.duration(seconds=pl.col("latency_seconds"))).alias(ASKED),
            pl.col(KNOWN_AT).alias(ANSWERED),
            pl.col("view_statuses").list.get(views.index(view)).alias(STATUS),
            *(values.get(place).cast(pl.Float32).alias(name) for name, place in places.items()),
        ),
    )


def _features_of(view: str, names: list[str]) -> Iterator[tuple[str, int]]:
    """Yield the bare names of a view's features, and where they stand in the vector."""
    for place, name in enumerate(names):
        owner, _, bare = name.partition("__")
        if owner == view:
            yield bare, place
