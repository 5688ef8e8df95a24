"""The training service as a process."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

import uvicorn

from shared.file_lock import hold_file
from shared.logs import get_logger
from training_pipeline.bootstrap import training_app
from training_pipeline.settings import TrainingSettings

_log = get_logger(__name__)


def serve(settings: TrainingSettings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        FtiError: the settings or the task do not allow a start.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):
        # uvicorn drains, then raises the signal again: that end is an orderly one.
        signal.signal(ending, _leave)
    with hold_file(
        settings.training_home / "in-use.lock",
        place=f"training service in FTI_HOME {settings.home}",
        remedy="It runs there already: its queue has one server.",
    ):
        app = training_app(settings)
        _log.info("service starts", host=settings.training_host, port=settings.training_port)
        uvicorn.run(
            app,
            host=settings.training_host,
            port=settings.training_port,
            log_config=None,
            access_log=False,
        )


def _leave(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - signal's
    raise SystemExit(0)
