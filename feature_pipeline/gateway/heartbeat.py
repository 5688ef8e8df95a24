"""The heartbeat: lets time pass on an idle log, so that windows forget what they must."""

from __future__ import annotations

import time
from collections.abc import Callable

from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.gateway.repeated import Repeated


class Heartbeat(Repeated):
    """Beats while the context lasts; ``alive`` tells whether it gets through."""

    def __init__(
        self, log: EventLog, seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("heartbeat", seconds, monotonic)
        self._event_log = log

    def act(self) -> None:
        """Beat once."""
        self._event_log.heartbeat()
