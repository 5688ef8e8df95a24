from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from training_pipeline.evaluation.intervals import RESAMPLES, percentiles, resample, wilson


@given(rows=st.integers(1, 5_000), data=st.data())
def test_wilson_is_scipys(rows: int, data: st.DataObject) -> None:
    """The interval is the one that scipy gives, lies in 0 to 1 and holds the share."""
    successes = data.draw(st.integers(0, rows))
    ours = wilson(successes, rows)
    theirs = binomtest(successes, rows).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= ours.low <= successes / rows <= ours.high <= 1


def test_more_rows_are_surer() -> None:
    """The same share of a hundred times the rows has about a tenth of the width."""
    few, many = wilson(80, 100), wilson(8_000, 10_000)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.05)


def test_the_bootstrap_of_a_share_is_its_normal_interval() -> None:
    """On a case with a closed form, resampling gives it."""
    drawn = resample(np.array([700, 300]), seed=1)
    found = percentiles(drawn[:, 0] / 1_000)
    reach = 1.96 * (0.7 * 0.3 / 1_000) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.7 - reach, 0.7 + reach), abs=0.003)


@given(cells=st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any), seed=st.integers(0))
def test_resamples_hold_as_many_rows(cells: list[int], seed: int) -> None:
    """Each has the rows of the original, none in an empty cell; a seed gives the same again."""
    counts = np.array(cells)
    drawn = resample(counts, seed)
    assert drawn.shape == (RESAMPLES, len(cells))
    assert np.all(drawn.sum(axis=1) == counts.sum())
    assert np.all(drawn[:, counts == 0] == 0)
    assert np.array_equal(drawn, resample(counts, seed))


def test_figures_that_are_no_numbers_are_left_out() -> None:
    """Resamples without a row of a label say nothing; if none says anything, all is possible."""
    found = percentiles(np.array([np.nan, 0.5, 0.5]))
    assert (found.low, found.high) == (0.5, 0.5)
    nothing = percentiles(np.array([np.nan]))
    assert (nothing.low, nothing.high) == (0.0, 1.0)
