"""The heartbeat: lets time pass on an idle log, so that windows forget what they must."""

from __future__ import annotations

import threading

from feature_pipeline.eventlog.port import EventLog
from shared.logs import get_logger

_log = get_logger(__name__)


class Heartbeat:
    """A thread that beats while the context lasts; ``alive`` tells whether it gets through."""

    def __init__(self, log: EventLog, seconds: float) -> None:
        self._event_log = log
        self._seconds = seconds
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the last beat reached the log."""
        return self._thread.is_alive() and not self._failed

    def __enter__(self) -> Heartbeat:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._event_log.heartbeat()
                self._failed = False
            except Exception:  # noqa: BLE001 - the thread must live on; readiness tells of it
                self._failed = True
                _log.exception("heartbeat failed")
            self._stop.wait(self._seconds)
