"""Supervision: a training process that lives no longer than its parent's word, line by line.

A parent that is dead closes the standard input; one that stands still, or lost its claim,
sends no more lines. In both cases the process ends before another worker begins with the run.
Before the last stage it waits for a line of its own: so nothing is registered that nobody claims.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from typing import TextIO

from shared.logs import get_logger
from training_pipeline.exit_codes import EXIT_INTERRUPTED
from training_pipeline.progress import JsonLines

_log = get_logger(__name__)

STILL_WANTED = "go on\n"
"""What a parent sends now and then."""
GO_AHEAD = "register\n"
"""What it answers when the stage ``register`` begins."""

_CHUNK = 4_096
_STDIN = 0


class Supervision:
    """Listens on the standard input from a thread of its own."""

    def __init__(self, patience: float) -> None:
        """Take for how many seconds a silence may last."""
        self._patience = patience
        self._may_register = threading.Event()
        # torchrun gives all its processes one standard input: the first reads, all see its end.
        reads = os.environ.get("RANK", "0") == "0"
        target = self._listen if reads else _watch
        self._thread = threading.Thread(target=target, name="supervision", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def wait_for_go_ahead(self) -> None:
        """Return when the parent wants the result registered; if it does not, it ends this."""
        self._may_register.wait()

    def _listen(self) -> None:
        unread = b""
        while _ready(self._patience) or _ready(0.0):
            got = os.read(_STDIN, _CHUNK)
            if not got:
                _end("its parent is gone")
            *lines, unread = (unread + got).split(b"\n")
            if GO_AHEAD.strip().encode() in lines:
                self._may_register.set()
        _end(f"its parent said nothing for {self._patience:g} s")


class Supervised(JsonLines):
    """Tells a parent how far a run is, and waits for its word before the run is registered."""

    def __init__(self, stream: TextIO, supervision: Supervision) -> None:
        super().__init__(stream)
        self._supervision = supervision

    def stage(self, name: str) -> None:
        """Say that a stage begins."""
        super().stage(name)
        if name == "register":
            self._supervision.wait_for_go_ahead()


def _watch() -> None:
    watch = select.poll()
    watch.register(_STDIN, 0)  # hang-ups are always told
    watch.poll()
    _end("its parent is gone")


def _ready(seconds: float) -> bool:
    return bool(select.select([_STDIN], [], [], seconds)[0])


def _end(why: str) -> None:
    """End at once: another worker may begin with the run any moment."""
    _log.error("training process ends", reason=why)
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)
