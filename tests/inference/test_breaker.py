"""When a failing neighbour is left alone, and when it is tried again.

calls     F F F . . . T . . . T S S
state     C C O O O O H O O O H C C      F fails, S succeeds, T is the one trial
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from inference_pipeline.features.breaker import Breaker


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at rest."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Three failures open it for ten seconds."""
    return Breaker(failures=3, open_for=timedelta(seconds=10), clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    """Fail some calls that were allowed."""
    for _ in range(times):
        assert breaker.allows()
        breaker.failed()


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    """It takes all of them, and then no call is allowed."""
    fail(breaker, 2)
    assert breaker.allows()
    breaker.failed()
    assert breaker.state == "open"
    assert not breaker.allows()


def test_a_success_begins_the_count_anew(breaker: Breaker) -> None:
    """Failures that are not in a row do not add up."""
    for _ in range(5):
        fail(breaker, 2)
        breaker.succeeded()
    assert breaker.state == "closed"


def test_after_a_while_one_trial_is_allowed(breaker: Breaker, clock: Clock) -> None:
    """While the trial runs, everybody else is still refused."""
    fail(breaker, 3)
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()
    assert breaker.state == "half-open"
    assert not breaker.allows()


def test_the_trial_decides(breaker: Breaker, clock: Clock) -> None:
    """A trial that fails opens it for as long again; one that succeeds closes it."""
    fail(breaker, 3)
    clock.now += 10
    fail(breaker, 1)
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.allows()
