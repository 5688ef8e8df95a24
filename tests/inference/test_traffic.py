"""The split between champion and challenger: sticky, and as large as it was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.versions.traffic import SHARE_TAG, challenger_share, goes_to_challenger
from shared.errors import ContractError

shares = st.floats(min_value=0, max_value=1)


@given(key=st.text(), share=shares, more=shares)
def test_a_growing_share_takes_keys_over_and_gives_none_back(
    key: str, share: float, more: float
) -> None:
    """Who has seen the challenger goes on seeing it while its share grows."""
    low, high = sorted((share, more))
    if goes_to_challenger(key, low, experiment="tiny:2"):
        assert goes_to_challenger(key, high, experiment="tiny:2")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_kept(share: float) -> None:
    """Of many keys, the challenger gets its share."""
    hits = sum(goes_to_challenger(f"user-{n}", share, experiment="tiny:2") for n in range(10_000))
    assert hits / 10_000 == pytest.approx(share, abs=0.02)


def test_experiments_are_independent() -> None:
    """Of the keys of one experiment's half, another takes half."""
    keys = [f"user-{n}" for n in range(10_000)]
    first = [key for key in keys if goes_to_challenger(key, 0.5, experiment="tiny:2")]
    both = sum(goes_to_challenger(key, 0.5, experiment="tiny:3") for key in first)
    assert both / len(first) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("tag", ["", "half", "-0.1", "1.1", "nan", "inf", "50%"])
def test_a_share_that_is_none_is_refused(tag: str) -> None:
    """The tag must hold a number from 0 to 1."""
    with pytest.raises(ContractError, match="a number from 0 to 1"):
        challenger_share({SHARE_TAG: tag})
