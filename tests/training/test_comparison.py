from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from training_pipeline.evaluation.comparison import compare_with_champion, mcnemar


@given(gained=st.integers(0, 400), lost=st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    """The p-value is that of scipy's exact test of a fair coin, and of the two in either order."""
    theirs = 1.0 if gained + lost == 0 else binomtest(gained, gained + lost).pvalue
    assert mcnemar(gained, lost) == pytest.approx(theirs, rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def test_the_interval_of_a_difference() -> None:
    """It is the closed form of paired shares: narrower than of two samples of their own."""
    right, champion_right = np.ones(1_000, bool), np.ones(1_000, bool)
    right[:40], champion_right[40:100] = False, False
    found = compare_with_champion(right, champion_right, champion="7", seed=2)
    assert (len(found.gained), len(found.lost)) == (60, 40)
    assert found.difference == pytest.approx(0.02)
    reach = 1.96 * ((0.06 + 0.04 - 0.02**2) / 1_000) ** 0.5
    low, high = found.interval.low, found.interval.high
    assert (low, high) == pytest.approx((0.02 - reach, 0.02 + reach), abs=0.002)


def test_equal_models_do_not_differ() -> None:
    """The same answers give no difference, and no doubt about it."""
    right = np.arange(300) % 5 > 0
    found = compare_with_champion(right, right, champion="7", seed=2)
    assert (found.difference, found.interval.low, found.interval.high) == (0, 0, 0)
    assert found.p_value == 1.0
