"""How far the stream is behind the log, known without asking the log at each request."""

from __future__ import annotations

from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.gateway.repeated import Repeated

_SECONDS = 1.0
"""Between two questions: what is posted meanwhile may exceed the limit."""


class Backlog(Repeated):
    """Asks the log how many entries wait for the stream, and remembers the answer.

    Attributes:
        entries: that waited when the log was last asked; 0 before.
        log_entries: that the log held then.
    """

    def __init__(self, log: EventLog, limit: int, seconds: float = _SECONDS) -> None:
        super().__init__("backlog", seconds)
        self._event_log = log
        self.limit = limit
        self.entries = 0
        self.log_entries = 0

    @property
    def exceeded(self) -> bool:
        """Whether more entries wait than may."""
        return self.entries > self.limit

    def act(self) -> None:
        """Ask once."""
        self.log_entries = self._event_log.size()
        self.entries = self._event_log.backlog()
