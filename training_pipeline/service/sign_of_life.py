"""A sign that a process without an HTTP face gets on: a file whose age health checks look at."""

from __future__ import annotations

from pathlib import Path

from shared.logs import get_logger

_log = get_logger(__name__)


class SignOfLife:
    """A file that is touched now and then, if one is wanted."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def give(self) -> None:
        """Touch the file."""
        if self._file is None:
            return
        try:
            self._file.touch()
        except OSError as error:
            # The health check tells; the work itself goes on.
            _log.warning("sign of life cannot be given", error=str(error))
