"""Times of a column that surely are times, whatever stands beside them."""

from __future__ import annotations

import polars as pl

from feature_pipeline.definition.deltas import MOMENT

_DATE = r"[12]\d{3}-\d{2}-\d{2}"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3}|\.\d{6})?"
_ZONE = r"(?:[01]\d|2[0-3]):?[0-5]\d"


def surely_times(given: pl.Series) -> pl.Series:
    """Return the times of a column in UTC: null where there is none, or where that is not sure.

    Args:
        given: dates, datetimes (without a zone: UTC), or text in ISO 8601 as most write it.
    """
    dtype = given.dtype
    if isinstance(dtype, pl.Date) or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        return given.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        return given.dt.convert_time_zone("UTC").cast(MOMENT)
    if not isinstance(dtype, pl.String):
        return pl.Series(given.name, [None] * given.len(), dtype=MOMENT)
    text = pl.col("text")
    written = (
        pl.when(text.str.contains(rf"^{_DATE}[T ]{_TIME}(?:Z|[+-]{_ZONE})?$"))
        .then(text.str.replace(" ", "T", literal=True))
        .when(text.str.contains(rf"^{_DATE}$"))
        .then(text + "T00:00:00Z")
        .str.replace("Z", "+00:00", literal=True)
    )
    has_zone = pl.col("text").str.contains(rf"[+-]{_ZONE}$")
    zoned = pl.when(has_zone).then("text").otherwise(pl.col("text") + "+00:00")
    return (
        given.alias("text")
        .to_frame()
        .select(written.alias("text"))
        .select(zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False))
        .to_series()
        .dt.convert_time_zone("UTC")
        .alias(given.name)
    )
