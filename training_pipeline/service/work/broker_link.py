"""The link to the broker, renewed where Celery does not notice that it is gone.

A message is acknowledged when its run is done with. If the broker is away at that moment Celery
logs it and counts the message as held for ever: with one at a time, the worker would take no other,
and would not even look at its connection.
"""

from __future__ import annotations

import threading
from typing import Any

from shared.logs import get_logger
from training_pipeline.service.work.execution import Execution

_log = get_logger(__name__)

_INTERVAL = 2.0
_LOOKS = 2
"""So often a message must be held while nothing runs: one may just have come, or be going."""


class BrokerLink:
    """Watches a Celery worker from a thread of its own, and makes it connect anew."""

    def __init__(self, celery: Any, execution: Execution) -> None:
        self._celery = celery
        self._execution = execution
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="broker-link", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = 0
        while not self._done.wait(_INTERVAL):
            looks = looks + 1 if self._execution.idle and self._holds_a_message() else 0
            if looks >= _LOOKS and self._celery.hub is not None:
                _log.warning("message could not be acknowledged: connecting to the broker anew")
                self._celery.hub.call_soon(_break)
                looks = 0

    def _holds_a_message(self) -> bool:
        consumer = getattr(self._celery.consumer, "task_consumer", None)
        channel = getattr(consumer, "channel", None)
        return channel is not None and not channel.qos.can_consume()


def _break() -> None:
    """Tell Celery's loop what it did not see; it connects anew, as after any loss."""
    raise ConnectionResetError("a message could not be acknowledged")
