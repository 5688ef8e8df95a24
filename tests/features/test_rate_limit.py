"""The token bucket of a client, by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipeline.gateway.rate_limit import RateLimit


@given(
    per_second=st.floats(0.5, 1_000),
    burst=st.integers(1, 50),
    offers=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 60)), max_size=60),
)
def test_rate_holds_over_every_span(
    per_second: float, burst: int, offers: list[tuple[float, int]]
) -> None:
    """Between any two moments no more passes than a burst and the rate; the told wait is enough."""
    now = 0.0
    limit = RateLimit(per_second, burst, clock=lambda: now)
    taken: list[tuple[float, int]] = []
    for pause, events in offers:
        now += pause
        wait = limit.take("ann", events)
        if wait and events <= burst:
            now += wait
            assert limit.take("ann", events) == 0
        if not wait or events <= burst:
            taken.append((now, events))
    for first, (begin, _) in enumerate(taken):
        total = 0
        for end, events in taken[first:]:
            total += events
            assert total <= burst + (end - begin) * per_second + 1e-3


def test_full_bucket_takes_a_burst_and_no_more() -> None:
    """After a pause a client may post its burst at once; another client is not slowed by it."""
    limit = RateLimit(2.0, 10, clock=lambda: 0.0)
    assert limit.take("ann", 10) == 0
    assert limit.take("ann", 1) == pytest.approx(0.5)
    assert limit.take("bob", 10) == 0
