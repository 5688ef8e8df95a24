"""Waiting for a store that is away: the epoch is not finished until it is back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)
from tenacity.nap import sleep_using_event

from shared.errors import StateError
from shared.logs import get_logger

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0

_log = get_logger(__name__)

Result = TypeVar("Result")


class Patience:
    """Does a step again while a store is away, for a bounded time.

    Args:
        outages: errors that say that a store is away; others are raised at once.
        limit: how long to go on trying.
        stop: ends the waiting early.
    """

    def __init__(self, outages: tuple[type[Exception], ...], limit: timedelta, stop: Event) -> None:
        self._limit = limit
        self._retrying = Retrying(
            retry=retry_if_exception_type(outages),
            wait=wait_exponential_jitter(initial=_FIRST_WAIT, max=_LONGEST_WAIT),
            stop=stop_after_delay(limit.total_seconds()) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=_tell,
            retry_error_callback=self._give_up,
        )

    def __call__(self, step: Callable[[], Result]) -> Result:
        """Return what a step returns, which may be tried several times.

        Raises:
            StateError: the store was away for longer than the limit, or when told to stop.
        """
        return self._retrying(step)

    def _give_up(self, state: RetryCallState) -> None:
        error = _error_of(state)
        raise StateError(
            "feature store",
            expected=f"a store that is back within {self._limit.total_seconds():g} s",
            found=_shown(error),
            remedy="Start the stream worker again when it is back: nothing is lost, and what was "
            "not finished is done again.",
        ) from error


def _tell(state: RetryCallState) -> None:
    _log.warning(
        "the feature store is away; trying again",
        attempt=state.attempt_number,
        error=_shown(_error_of(state)),
    )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _shown(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
