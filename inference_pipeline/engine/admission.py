"""Which requests to take: forecasts when one would be done from what waits and how fast it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from shared.errors import FtiError

_WEIGHT = 0.1
"""Of the newest batch in the running mean: the last twenty or so decide."""

_MARGIN = 2.0
"""A forecast counts as this much longer. Under overload the queue is always as long as it may be:
were it cut to the deadline, one slow moment would make all of it late. A queue of half the time
keeps the threads as busy."""


_ROOM = 4
"""The door is open while there is room for a request of so many times the mean length. Were it
open for any shorter one, most would be read first and refused then, which costs ten times more."""


class OverloadedError(FtiError):
    """A request that could not be answered before its deadline: it is refused at once."""

    retry_after: timedelta = timedelta(seconds=1)
    """By when the queue should have shrunk enough."""


class DeadlineExceededError(FtiError):
    """A request whose deadline passed before it was answered."""


class Admission:
    """Learns how long a token takes on one thread, and refuses what would come too late.

    It lives on the event loop and takes no lock.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._seconds_per_token = 0.0
        self._mean_tokens = 1.0
        self.tokens_in_flight = 0
        """Of the requests that were taken and are not answered."""

    def observe(self, tokens: int, seconds: float) -> None:
        """Note that one thread took so many seconds for a batch of so many tokens, one or more."""
        rate = seconds / tokens
        known = self._seconds_per_token
        self._seconds_per_token = known + _WEIGHT * (rate - known) if known else rate

    def forecast(self, tokens: int) -> float:
        """Return after how many seconds a request that comes now is done at the latest.

        What is in flight is spread over all threads; of the request itself, one thread may have to
        run all. The forecast is 0 before anything was observed.
        """
        ahead = self.tokens_in_flight / self._threads
        return self.run_time(tokens) + _MARGIN * self._seconds_per_token * ahead

    def run_time(self, tokens: int) -> float:
        """Return how many seconds a request takes with nothing ahead of it, on one thread."""
        return _MARGIN * self._seconds_per_token * tokens

    def check(self, tokens: int, seconds_left: float) -> None:
        """Return if a request that comes now can be done in the time that is left to it.

        An idle server takes whatever comes: a forecast that went wrong could not be mended if
        nothing ran any more.

        Raises:
            OverloadedError: it cannot be done in time.
        """
        needed = self.forecast(tokens)
        if needed <= seconds_left or not self.tokens_in_flight:
            return
        error = OverloadedError(
            "server",
            expected=f"to be done within {max(seconds_left, 0.0):.3f} s",
            found=f"a queue of {needed:.3f} s",
            remedy="Try again later, or allow more time.",
        )
        error.retry_after = timedelta(seconds=needed - max(seconds_left, 0.0))
        raise error

    def check_unread(self, seconds_left: float) -> None:
        """Return if a request of unknown length is worth reading.

        Raises:
            OverloadedError: it would hardly be taken.
        """
        self.check(round(_ROOM * self._mean_tokens), seconds_left)

    @contextmanager
    def hold(self, tokens: int) -> Iterator[None]:
        """Count a request as in flight."""
        self._mean_tokens += _WEIGHT * (tokens - self._mean_tokens)
        self.tokens_in_flight += tokens
        try:
            yield
        finally:
            self.tokens_in_flight -= tokens
