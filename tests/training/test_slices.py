from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.training.sample import sample_rows
from training_pipeline.evaluation.intervals import wilson
from training_pipeline.evaluation.slices import UNTOLD, slices


def test_slices_are_worst_first() -> None:
    """Rows of one subject that are all wrong come first, with their interval."""
    rows = sample_rows(300)
    right = rows.subject_ids != "delta"
    found = slices(rows, right, np.full(300, 10), min_rows=30)
    worst = found[0]
    assert (worst.dimension, worst.value, worst.accuracy) == ("subject", "delta", 0.0)
    assert worst.interval == wilson(0, worst.rows)
    highs = [one.interval.high for one in found]
    assert highs == sorted(highs)


def test_few_rows_make_no_slice() -> None:
    """A slice below the least number of rows is left out; others keep all their rows."""
    rows = sample_rows(100)
    subjects = np.array(["rare"] * 5 + ["common"] * 95, dtype=object)
    found = slices(
        replace(rows, subject_ids=subjects), np.ones(100, bool), np.full(100, 10), min_rows=6
    )
    names = {one.value: one.rows for one in found if one.dimension == "subject"}
    assert names == {"common": 95}


def test_each_dimension_holds_every_row() -> None:
    """Every row is in one slice of each dimension, that of nobody's language, too."""
    rows = sample_rows(100)
    tokens = np.arange(100) + 1
    found = slices(rows, np.ones(100, bool), tokens, min_rows=1)
    for dimension in ("subject", "source", "language", "length", "time"):
        held = np.concatenate([one.positions for one in found if one.dimension == dimension])
        assert sorted(held) == list(range(100))
    assert UNTOLD in {one.value for one in found if one.dimension == "language"}
    lengths = {one.value: one.rows for one in found if one.dimension == "length"}
    assert lengths["1 to 7 tokens"] == 7
    assert lengths["8 to 15 tokens"] == 8
