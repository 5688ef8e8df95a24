"""The measure: per feature, how many served values history agrees with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from feature_pipeline.consistency.served import (
    ANSWERED,
    ENTITY,
    PREDICTION,
    STATUS,
    ServedView,
    read_served,
)
from feature_pipeline.consistency.verdicts import (
    BEHIND,
    EQUAL,
    LAG,
    MISMATCH,
    MISSING,
    VERDICT,
    judge,
)

if TYPE_CHECKING:
    from feast import FeatureStore

_EXAMPLES = 3
_UNAVAILABLE = "unavailable"
"""The status of a view that serving could not read: nothing was served of it."""


@dataclass(frozen=True)
class Example:
    """A served value that history does not know."""

    prediction_id: str
    entity: str
    answered_at: datetime
    served: float | None
    expected: float | None


@dataclass(frozen=True)
class FeatureAgreement:
    """What became of the served values of one feature.

    Attributes:
        equal: as history has it at the moment of the answer.
        behind: of an earlier row, while a newer one was on its way to the online store.
        missing: nothing was served, though history has a value.
        mismatched: any other value.
        max_lag_seconds: for how long at most a newer row had been known.
    """

    feature: str
    equal: int = 0
    behind: int = 0
    missing: int = 0
    mismatched: int = 0
    max_lag_seconds: float = 0.0
    examples: list[Example] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """How many values were compared."""
        return self.equal + self.behind + self.missing + self.mismatched

    @property
    def mismatch_rate(self) -> float:
        """The share of compared values that are missing or mismatched."""
        return (self.missing + self.mismatched) / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class ConsistencyReport:
    """What a measurement found.

    Attributes:
        until: later answers were left out: history may not be complete yet.
        unavailable: rows of views that serving could not read; they are not compared.
    """

    until: datetime
    predictions: int
    unavailable: int
    features: list[FeatureAgreement]

    @property
    def compared(self) -> int:
        """How many values were compared."""
        return sum(feature.compared for feature in self.features)

    @property
    def mismatch_rate(self) -> float:
        """The share of compared values that are missing or mismatched."""
        wrong = sum(feature.missing + feature.mismatched for feature in self.features)
        return wrong / self.compared if self.compared else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON has it, rates included."""
        return {
            "until": self.until,
            "predictions": self.predictions,
            "unavailable": self.unavailable,
            "compared": self.compared,
            "mismatch_rate": self.mismatch_rate,
            "features": [
                {**asdict(feature), "mismatch_rate": feature.mismatch_rate}
                for feature in self.features
            ],
        }


def measure(
    store: FeatureStore, since: datetime, until: datetime, limit: int, bound: timedelta
) -> ConsistencyReport:
    """Compare what the newest predictions of a period were made from with history.

    Args:
        store: the feature store with both sides and the prediction log.
        since: of the answers, included.
        until: of the answers, included; history holds all that was known by then.
        limit: how many predictions at most.
        bound: how long a newer row may be on its way to the online store.

    Raises:
        StateError: history does not answer.
        FeatureRegistryError: the feature registry is damaged or away.
    """
    views = read_served(store, since, until, limit)
    unavailable = 0
    found: dict[str, list[pl.DataFrame]] = {}
    for served in views:
        read = served.rows.filter(pl.col(STATUS) != _UNAVAILABLE)
        unavailable += served.rows.height - read.height
        if read.is_empty():
            continue
        kept = ServedView(served.view, served.join_key, served.features, read)
        judged = judge(store, kept, bound)
        for name in served.features:
            found.setdefault(f"{served.view}__{name}", []).append(_of_feature(judged, name))
    predictions = pl.concat([view.rows[PREDICTION] for view in views]).n_unique() if views else 0
    agreements = [_agreement(name, frames) for name, frames in found.items()]
    return ConsistencyReport(until, predictions, unavailable, agreements)


def _of_feature(judged: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return one feature's served and expected values, with its own verdict.

    Of a row that is not equal, most features may still be.
    """
    served, expected = pl.col(name), pl.col(f"history_{name}")
    return judged.select(
        PREDICTION,
        ENTITY,
        ANSWERED,
        served.alias("served"),
        expected.alias("expected"),
        pl.when(served.eq_missing(expected))
        .then(pl.lit(EQUAL))
        .otherwise(pl.col(VERDICT))
        .alias(VERDICT),
        LAG,
    )


def _agreement(name: str, frames: Iterable[pl.DataFrame]) -> FeatureAgreement:
    values = pl.concat(frames)
    counts = dict(values[VERDICT].value_counts().iter_rows())
    lag = values.filter(pl.col(VERDICT) == BEHIND)[LAG].max()
    wrong = values.filter(pl.col(VERDICT).is_in([MISSING, MISMATCH])).head(_EXAMPLES)
    return FeatureAgreement(
        feature=name,
        equal=counts.get(EQUAL, 0),
        behind=counts.get(BEHIND, 0),
        missing=counts.get(MISSING, 0),
        mismatched=counts.get(MISMATCH, 0),
        max_lag_seconds=float(lag) if isinstance(lag, float) else 0.0,
        examples=[
            Example(prediction, entity, answered, served, expected)
            for prediction, entity, answered, served, expected in wrong.select(
                PREDICTION, ENTITY, ANSWERED, "served", "expected"
            ).iter_rows()
        ],
    )
