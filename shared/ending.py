"""The last seconds of a command, in which the interpreter ends."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit code, whatever signal comes meanwhile or came before.

    While the interpreter ends, which takes a second or two with torch, signals would have their
    default action again; and a Ctrl-C that passed through an ``exec`` of text, as importing does
    it, would make Python end itself by SIGINT, though the code says what happened.
    """
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)
    exec("")  # noqa: S102 - nothing: Python forgets that Ctrl-C, as with every `exec` of text
    sys.exit(code)
