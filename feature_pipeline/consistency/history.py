"""What history says of a feature view: as of a moment, and row by row over a period."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from feature_pipeline.consistency.reading import read_between, reading
from feature_pipeline.consistency.served import ENTITY, PREDICTION, ServedView
from shared.errors import StateError
from shared.feature_store import registry_errors
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureStore


def as_of(store: FeatureStore, served: ServedView, moments: pl.Expr) -> pl.DataFrame:
    """Return the features of each served row as history has them, by a point-in-time join.

    It is the join that training reads through.

    Args:
        store: whose offline side is read.
        served: names entities and features.
        moments: per row, the moment as of which.

    Returns:
        The features as 32-bit floats, in the order of the rows; null where there is none.

    Raises:
        StateError: the store does not answer with one row for each.
    """
    asked = served.rows.select(
        PREDICTION, pl.col(ENTITY).alias(served.join_key), moments.alias(KNOWN_AT)
    )
    with reading(served.view), registry_errors(store):
        job = store.get_historical_features(
            entity_df=asked.to_pandas(),
            features=[f"{served.view}:{name}" for name in served.features],
            full_feature_names=True,
        )
        found = pl.DataFrame(job.to_arrow())
    if found[PREDICTION].to_list() != asked[PREDICTION].to_list():
        raise StateError(
            f"feature store, history of {served.view}",
            expected=f"one row for each of {len(asked)} predictions, in order",
            found=f"{len(found)} rows, others or in another order",
        )
    return found.select(
        pl.col(f"{served.view}__{name}").cast(pl.Float32).alias(name) for name in served.features
    )


def rows_between(
    store: FeatureStore, served: ServedView, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the rows of a period, both ends included, of the entities that were served.

    Returns:
        ENTITY, KNOWN_AT and the features as 32-bit floats, in order of time.
    """
    return (
        read_between(store, served.view, served.features, start, end)
        .rename({served.join_key: ENTITY})
        .filter(pl.col(ENTITY).is_in(served.rows[ENTITY].unique().implode()))
        .select(ENTITY, KNOWN_AT, pl.col(served.features).cast(pl.Float32))
        .sort(KNOWN_AT)
    )
