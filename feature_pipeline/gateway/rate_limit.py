"""How many events a client may post: a token bucket for each, kept as one number."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MAX_CLIENTS = 100_000
"""Buckets that are remembered; strangers with many addresses must not fill the memory."""


class RateLimit:
    """A token bucket for each client, by the generic cell rate algorithm (ITU-T I.371).

    A bucket holds ``burst`` events and gains ``per_second`` events a second. All that is kept of it
    is the moment at which it will be full again. Safe to use from several threads.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds_per_event = 1.0 / per_second
        self._depth = burst / per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str, events: int) -> float:
        """Take events out of a client's bucket, or none of them.

        Returns:
            0 if they were taken, else the seconds after which they can be. A number of events that
            exceeds the burst can never be taken.
        """
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.get(client, now), now) + events * self._seconds_per_event
            wait = full_at - now - self._depth
            # A billionth of a second is what the arithmetic may be off by.
            if wait > 1e-9:  # noqa: PLR2004
                return wait
            self._full_at[client] = full_at
            self._full_at.move_to_end(client)
            if len(self._full_at) > _MAX_CLIENTS:
                # Who posted last the longest time ago; such a bucket has mostly filled again.
                self._full_at.popitem(last=False)
            return 0.0
