"""The error that ended a dataflow."""

from __future__ import annotations

from types import TracebackType


class FirstError:
    """Keeps the first error that a step raises while it is entered as a context.

    Bytewax raises it again in a process of its own. In one of several it only tells that the
    connections broke, which they do when any worker ends.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> None:
        """Watch a step."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keep its error, which goes on; the end of a source is none."""
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            self.error = self.error or error
