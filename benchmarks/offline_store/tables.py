"""The tables of the benchmark: label rows and two feature views, made from a seed.

They look like what a stream of mentions leaves behind. Keys follow a power law, a few are unknown
to the views. Rows stand in the order in which they arrived, so that late ones stand behind. Many
rows of all keys share a moment (windows move on at the full hour), some rows of one key do
(corrections, made later), and some rows are there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=90)
COUNTS = ("mentions_1h", "mentions_24h", "mentions_7d", "positive_7d", "neutral_7d", "negative_7d")
SHARES = ("positive_share", "neutral_share", "negative_share", "mean_words")
FEATURES = (*COUNTS, *SHARES)
MOMENT = pl.Datetime("us", "UTC")

_HOUR = 3_600_000_000  # microseconds, as are all times here
_ON_THE_HOUR = 0.2  # share of rows that an expiry made
_LATE = 0.02
_FEWEST_LABELLED = 13  # mentions in the last hour without which there are no shares


@dataclass(frozen=True)
class View:
    """One feature view: its name, which is also the name of its files, and its key."""

    name: str
    key: str
    keys: int
    """How many keys there are."""
    ttl: timedelta
    """Zero is no limit, as in Feast."""


VIEWS = (
    View("subject_activity", "subject_id", keys=5_000, ttl=timedelta(days=7)),
    View("source_activity", "source_id", keys=20_000, ttl=timedelta(0)),
)


@dataclass(frozen=True)
class Tables:
    """A folder with the tables of one size."""

    folder: Path

    @property
    def labels(self) -> Path:
        """The label rows, as Parquet."""
        return self.folder / "labels.parquet"

    def parquet(self, view: View) -> Path:
        """The rows of a view, as Parquet."""
        return self.folder / f"{view.name}.parquet"

    def delta(self, view: View) -> Path:
        """The same rows as a Delta table."""
        return self.folder / f"{view.name}.delta"


def make_tables(folder: Path, rows: int, *, seed: int, skew: float) -> Tables:
    """Write label rows and views of as many rows each, as Parquet and as Delta.

    Args:
        folder: made if it is not there.
        rows: of the label rows and of each view.
        seed: of all that is random.
        skew: exponent of the power law of the keys; 0 is uniform, 1 is Zipf's law.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = Tables(folder)
    random = np.random.default_rng(seed)
    _labels(random, rows, skew).write_parquet(tables.labels)
    for view in VIEWS:
        frame = _history(random, view, rows, skew)
        frame.write_parquet(tables.parquet(view))
        frame.write_delta(tables.delta(view))
    return tables


def _labels(random: Generator, rows: int, skew: float) -> pl.DataFrame:
    at = _moments(random, rows)
    arrived = at + _lags(random, rows, hours=24)
    keys = {view.key: _keys(random, view, rows, skew, unknown=0.01) for view in VIEWS}
    # Two annotators label one mention: the same keys and time in two rows.
    first = random.choice(rows, rows // 100, replace=False)
    second = (first + 1) % rows
    at[second] = at[first]
    for column in keys.values():
        column[second] = column[first]
    frame = pl.DataFrame(
        {
            **{view.key: _names(view, keys[view.key]) for view in VIEWS},
            "event_timestamp": _times(at),
            "label": random.choice(["positive", "neutral", "negative"], rows),
        }
    )
    frame = frame[np.argsort(arrived, kind="stable")]
    return frame.select(pl.format("m{}", pl.int_range(rows)).alias("mention_id"), pl.all())


def _history(random: Generator, view: View, rows: int, skew: float) -> pl.DataFrame:
    at = _moments(random, rows)
    expiries = random.random(rows) < _ON_THE_HOUR
    at[expiries] -= at[expiries] % _HOUR
    created = at + _lags(random, rows, hours=0.02)
    late = random.random(rows) < _LATE
    created[late] += _lags(random, int(late.sum()), hours=48)
    keys = _keys(random, view, rows, skew, unknown=0)
    counts = {name: random.poisson(20 * (place + 1), rows) for place, name in enumerate(COUNTS)}
    shares = {name: random.random(rows) for name in SHARES}
    corrected, correction = _pairs(random, rows)
    keys[correction], at[correction] = keys[corrected], at[corrected]
    created[correction] = created[corrected] + _lags(random, len(corrected), hours=12)
    frame = pl.DataFrame(
        {view.key: _names(view, keys), **counts, **shares}
        | {"event_timestamp": _times(at), "created": _times(created)}
    ).with_columns(  # no label is known yet: no share
        pl.when(pl.col("mentions_1h") >= _FEWEST_LABELLED).then(name).alias(name)
        for name in SHARES[:3]
    )
    repeated, repetition = _pairs(random, rows)
    places = np.arange(rows)
    places[repetition] = places[repeated]
    return frame[places].sort("created", maintain_order=True)


def _pairs(random: Generator, rows: int) -> tuple[Integers, Integers]:
    """Return the places of one row in fifty, and of as many others."""
    places = random.permutation(rows)[: 2 * (rows // 50)]
    return places[::2], places[1::2]


def _moments(random: Generator, rows: int) -> Integers:
    begin = int(BEGIN.timestamp()) * 1_000_000
    return begin + random.integers(0, SPAN // timedelta(microseconds=1), rows)


def _lags(random: Generator, rows: int, hours: float) -> Integers:
    return 1 + random.exponential(hours * _HOUR, rows).astype(np.int64)


def _keys(random: Generator, view: View, rows: int, skew: float, unknown: float) -> Integers:
    """Return numbers of keys by a power law; those from ``view.keys`` on are in no view."""
    weights = np.arange(1.0, view.keys + 1) ** -skew
    keys = random.choice(view.keys, rows, p=weights / weights.sum())
    keys[random.random(rows) < unknown] += view.keys
    return keys


def _names(view: View, keys: Integers) -> pl.Series:
    prefix = view.key.removesuffix("_id")
    return pl.select(pl.format(f"{prefix}-{{}}", pl.Series(keys))).to_series()


def _times(microseconds: Integers) -> pl.Series:
    return pl.Series(microseconds).cast(MOMENT)
