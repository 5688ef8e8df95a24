"""The HTTP face of the training service as a process."""

from __future__ import annotations

from types import FrameType

import uvicorn
from fastapi import FastAPI

from shared.http_protocol import BoundedHeads
from shared.logs import get_logger
from training_pipeline.service.api.event_stream import Listeners

_log = get_logger(__name__)

_NOT_STARTED = 3
"""The exit code of a server that could not start, such as on a taken port."""


class _Server(uvicorn.Server):
    """Ends the streams of events when it is to end: they would keep it for hours."""

    def __init__(self, config: uvicorn.Config, listeners: Listeners) -> None:
        super().__init__(config)
        self._listeners = listeners

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self._listeners.ending.set()
        super().handle_exit(sig, frame)


def run_server(app: FastAPI, listeners: Listeners, *, host: str, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    _log.info("service starts", host=host, port=port)
    config = uvicorn.Config(
        app, host=host, port=port, http=BoundedHeads, log_config=None, access_log=False
    )
    server = _Server(config, listeners)
    server.run()
    return 0 if server.started else _NOT_STARTED
