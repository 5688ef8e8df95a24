"""The right answer by a binary search in plain arrays, and how far another is from it.

Nothing is shared with any contender, bare Polars included, so that all of them are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.offline_store.tables import FEATURES, VIEWS, Tables, View

ROW = "mention_id"
"""The column of the label rows that tells one from another."""


@dataclass(frozen=True)
class Verdict:
    """How an answer compares with the right one."""

    returned: int
    lost: int
    """Label rows that did not come back."""
    wrong: int
    """Label rows that did not come back exactly once with the right features; lost ones too."""
    in_order: bool
    """Whether the rows came back in the order of the label rows, all of them."""


def right_answer(tables: Tables) -> pl.DataFrame:
    """Return the label rows, in order, with the features of both views as of their times."""
    labels = pl.read_parquet(tables.labels)
    found = [_as_of(labels, pl.read_parquet(tables.parquet(view)), view) for view in VIEWS]
    return pl.concat([labels, *found], how="horizontal")


def judge(right: pl.DataFrame, answer_file: Path) -> Verdict:
    """Compare an answer, stored as Parquet, with the right one.

    Numbers are compared by value: a store that goes through pandas returns integers as floats, and
    NaN for null. Which rows of a key and a time are lost does not matter; the rows are told apart
    by their own column.
    """
    features = [name for name in right.columns if "__" in name]
    answer = pl.read_parquet(answer_file, columns=[ROW, *features])
    once = answer.filter(pl.col(ROW).is_unique())
    pairs = right.select(ROW, *features).join(once, on=ROW, suffix="_answered")
    same = pl.all_horizontal(
        _number(name).eq_missing(_number(f"{name}_answered")) for name in features
    )
    correct = pairs.select(same.sum()).item()
    return Verdict(
        returned=answer.height,
        lost=right.height - right.join(answer, on=ROW, how="semi").height,
        wrong=right.height - correct,
        in_order=answer[ROW].equals(right[ROW]),
    )


def _as_of(labels: pl.DataFrame, history: pl.DataFrame, view: View) -> pl.DataFrame:
    """Return a view's features for each label row: one binary search in (key, time) order."""
    history = history.sort(view.key, "event_timestamp", "created")
    names = pl.concat([labels[view.key], history[view.key]]).rank("dense").to_numpy()
    label_keys, keys = np.split(names.astype(np.int64), [labels.height])
    label_at, at = _microseconds(labels), _microseconds(history)
    begin = min(label_at.min(), at.min())
    width = max(label_at.max(), at.max()) - begin + 1
    ranks = keys * width + (at - begin)
    place = np.searchsorted(ranks, label_keys * width + (label_at - begin), side="right") - 1
    matches = (place >= 0) & (keys[place] == label_keys)
    if view.ttl:
        matches &= label_at - at[place] <= view.ttl // timedelta(microseconds=1)
    rows = pl.Series(np.where(matches, place, -1))
    picked = history.select(FEATURES)[rows.replace(-1, 0)]
    return picked.select(
        pl.when(rows >= 0).then(name).alias(f"{view.name}__{name}") for name in FEATURES
    )


def _microseconds(frame: pl.DataFrame) -> NDArray[np.int64]:
    return frame["event_timestamp"].to_physical().to_numpy()


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).fill_nan(None)
