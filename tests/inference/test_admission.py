"""What the forecast promises, and what is refused on its word."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.engine.admission import Admission, OverloadedError

TOKENS = st.integers(1, 10_000)


def learnt(seconds_per_token: float, *, threads: int = 2) -> Admission:
    """An estimator that has seen batches of one speed."""
    admission = Admission(threads=threads)
    for tokens in (10, 20, 40):
        admission.observe(tokens, tokens * seconds_per_token)
    return admission


@given(ahead=TOKENS, tokens=TOKENS, threads=st.integers(1, 64))
def test_a_steady_model_is_never_slower_than_foretold(
    ahead: int, tokens: int, threads: int
) -> None:
    """Threads that share what is ahead, then one for the request, are done by the forecast."""
    admission = learnt(0.001, threads=threads)
    with admission.hold(ahead):
        assert admission.forecast(tokens) >= 0.001 * (ahead / threads + tokens)


@given(ahead=TOKENS, more=TOKENS, tokens=TOKENS)
def test_more_ahead_is_never_foretold_sooner(ahead: int, more: int, tokens: int) -> None:
    """The forecast grows with what is in flight and with the request."""
    admission = learnt(0.001)
    with admission.hold(ahead):
        before = admission.forecast(tokens)
        with admission.hold(more):
            assert admission.forecast(tokens) > before
        assert admission.forecast(tokens + more) > before


@given(held=st.lists(TOKENS, max_size=20))
def test_what_is_answered_is_no_longer_ahead(held: list[int]) -> None:
    """In flight is what is held, whether a request ends well or not."""
    admission = Admission(threads=1)
    for tokens in held:
        with pytest.raises(ZeroDivisionError), admission.hold(tokens):
            raise ZeroDivisionError
    assert admission.tokens_in_flight == 0


def test_a_queue_too_long_is_refused_with_the_time_to_wait() -> None:
    """The error says how long the queue is, what was allowed, and when there will be room."""
    admission = learnt(0.001, threads=1)
    with admission.hold(4000), pytest.raises(OverloadedError) as refused:
        admission.check(100, seconds_left=2.0)
    # 4.1 s of work, twice that to be safe, of which 2 s are allowed.
    assert refused.value.retry_after.total_seconds() == pytest.approx(6.2)
    assert "within 2.000 s" in str(refused.value)
    assert "a queue of 8.200 s" in str(refused.value)


def test_the_door_closes_before_the_queue_is_full() -> None:
    """While a request of the usual length would just be taken, nothing more is read."""
    admission = learnt(0.001, threads=1)
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(admission.hold(8))
        # Twice 800 ms ahead, and twice 8 ms of its own or, unread, 32 ms.
        admission.check_unread(seconds_left=1.67)
        admission.check(8, seconds_left=1.63)
        with pytest.raises(OverloadedError):
            admission.check_unread(seconds_left=1.63)


def test_what_can_be_done_in_time_is_taken() -> None:
    """Below the deadline nothing is refused."""
    admission = learnt(0.001, threads=1)
    with admission.hold(800):
        admission.check(100, seconds_left=2.0)


def test_an_idle_server_takes_what_it_thinks_hopeless() -> None:
    """A forecast spoilt by a hiccup would else refuse for ever, and never learn better."""
    admission = learnt(100.0)
    admission.check(100, seconds_left=0.1)


def test_a_server_that_knows_nothing_takes_everything() -> None:
    """Before the first batch there is no reason to refuse."""
    admission = Admission(threads=1)
    with admission.hold(10**9):
        admission.check(10**9, seconds_left=0.1)


def test_the_forecast_follows_the_speed() -> None:
    """A model that became slower is foretold slower after some batches."""
    admission = learnt(0.001)
    for _ in range(50):
        admission.observe(10, 10 * 0.003)
    assert admission.run_time(1000) == pytest.approx(2 * 3.0, rel=0.02)
