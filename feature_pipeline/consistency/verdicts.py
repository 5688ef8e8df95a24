"""The verdict on each served row: what history says of it.

A row reaches the online store a moment after it is known, so a served row may lawfully be the one
before. It is judged as a whole: the features of a view are written together.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from feature_pipeline.consistency.history import as_of, rows_between
from feature_pipeline.consistency.served import ANSWERED, ASKED, ENTITY, PREDICTION, ServedView
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureStore

VERDICT, LAG = "verdict", "lag_seconds"
EQUAL, BEHIND, MISSING, MISMATCH = "equal", "behind", "missing", "mismatch"


def judge(store: FeatureStore, served: ServedView, bound: timedelta) -> pl.DataFrame:
    """Return the served rows with a verdict and what history says.

    Args:
        store: whose history is read.
        served: the rows.
        bound: how long a newer row may have been on its way to the online store.

    Returns:
        The rows, and beside them VERDICT; LAG, for how many seconds a newer row had been known
        when an older one was served; and the features of history as ``history_<feature>``.
    """
    then = as_of(store, served, pl.col(ANSWERED)).select(pl.all().name.prefix("history_"))
    rows = served.rows.hstack(then)
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"history_{name}")) for name in served.features
    )
    nothing = pl.all_horizontal(pl.col(name).is_null() for name in served.features)
    other = replace(served, rows=served.rows.filter(rows.select(~same).to_series()))
    lags = _lags(store, other, bound)
    verdict = (
        pl.when(same | (pl.col(LAG) == 0))
        .then(pl.lit(EQUAL))
        .when(pl.col(LAG).is_not_null())
        .then(pl.lit(BEHIND))
        .when(nothing)
        .then(pl.lit(MISSING))
        .otherwise(pl.lit(MISMATCH))
    )
    return rows.join(lags, on=PREDICTION, how="left", maintain_order="left").with_columns(
        verdict.alias(VERDICT)
    )


def _lags(store: FeatureStore, served: ServedView, bound: timedelta) -> pl.DataFrame:
    """Return the lags of the rows that equal an earlier row of history, by prediction."""
    if served.rows.is_empty():
        return pl.DataFrame(schema={PREDICTION: pl.String, LAG: pl.Float64})
    features = served.features
    earliest = pl.col(ASKED) - bound
    start, end = served.rows.select(earliest.min(), pl.col(ANSWERED).max().alias("end")).row(0)
    changes = rows_between(store, served, start, end)
    # Those that the bound finds already there, and those that came since: each until the next one.
    first = changes.select(ENTITY, pl.col(KNOWN_AT).alias("until"))
    base = (
        served.rows.select(PREDICTION, ENTITY, ASKED, earliest.alias(KNOWN_AT))
        .hstack(as_of(store, served, earliest))
        .sort(KNOWN_AT)
        .join_asof(
            first.with_columns(pl.col("until").alias(KNOWN_AT)),
            on=KNOWN_AT,
            by=ENTITY,
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
    )
    since = changes.with_columns(pl.col(KNOWN_AT).shift(-1).over(ENTITY).alias("until"))
    wanted = served.rows.select(PREDICTION, ENTITY, ASKED, ANSWERED, *features)
    equal = pl.concat(
        [
            wanted.join(
                base.select(PREDICTION, "until", *features),
                on=[PREDICTION, *features],
                nulls_equal=True,
            ).select(PREDICTION, ASKED, "until"),
            wanted.join(since, on=[ENTITY, *features], nulls_equal=True)
            .filter(pl.col(KNOWN_AT) <= pl.col(ANSWERED), pl.col("until") > earliest)
            .select(PREDICTION, ASKED, "until"),
        ]
    )
    lag = (pl.col(ASKED) - pl.col("until")).dt.total_microseconds() / 1e6
    return (
        equal.drop_nulls("until").group_by(PREDICTION).agg(lag.min().clip(lower_bound=0).alias(LAG))
    )
