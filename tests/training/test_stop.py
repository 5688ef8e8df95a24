from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from shared.errors import SettingsError
from training_pipeline.fit import processes_of
from training_pipeline.stop import StopRequest


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    """A request that listens, until the test ends."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    request = StopRequest()
    request.listen()
    yield request
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("stop")
def test_a_signal_interrupts(number: signal.Signals) -> None:
    """While nothing needs to be ended in order, a signal interrupts at once."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_not_lost(stop: StopRequest) -> None:
    """What is raised in a destructor goes nowhere, but whoever looks next hears of it."""

    class Last:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    Last()
    assert stop.asked
    with pytest.raises(KeyboardInterrupt), stop.deferred():
        pass
    with pytest.raises(KeyboardInterrupt):
        stop.complete()


def test_what_is_to_be_completed_is_not_interrupted(stop: StopRequest) -> None:
    """A first signal is noted, and nothing comes of it; a second one does not wait."""
    stop.complete()
    signal.raise_signal(signal.SIGTERM)
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_deferred_signal_is_noted(stop: StopRequest) -> None:
    """A first signal waits for whoever acts upon it; if nobody does, it interrupts at the end."""
    asked = []

    def hear_once() -> None:
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            asked.append(stop.asked)

    with pytest.raises(KeyboardInterrupt):
        hear_once()
    assert asked == [True]


def test_a_second_signal_does_not_wait(stop: StopRequest) -> None:
    """Who asks twice is obeyed at once."""
    passed = []

    def hear_twice() -> None:
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            passed.append("first")
            signal.raise_signal(signal.SIGTERM)
            passed.append("second")

    with pytest.raises(KeyboardInterrupt):
        hear_twice()
    assert passed == ["first"]


def test_half_of_torchruns_variables_are_refused() -> None:
    """A process that was started by half, or by something else, says what is missing."""
    with (
        pytest.raises(SettingsError, match="found only RANK, WORLD_SIZE"),
        processes_of({"RANK": "0", "WORLD_SIZE": "2"}),
    ):
        pass
