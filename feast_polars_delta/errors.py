"""The error of this offline store, also in place of what the libraries beneath raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class OfflineStoreError(Exception):
    """A table, an entity dataframe or a request does not fit; names the place and the remedy."""

    def __init__(
        self,
        table: str,
        *,
        expected: str,
        found: str,
        column: str | None = None,
        remedy: str = "",
    ) -> None:
        self.table = table
        self.column = column
        self.expected = expected
        self.found = found
        self.remedy = remedy
        place = table if column is None else f"{table}, column {column!r}"
        text = f"{place}: expected {expected}, found {found}."
        super().__init__(f"{text} {remedy}" if remedy else text)


@contextmanager
def explained(table: str, *, expected: str, column: str | None = None) -> Iterator[None]:
    """Raise OfflineStoreError in place of whatever a library raises.

    Only calls of libraries belong under it. Polars and deltalake share no base class of their
    errors, and both panic on some damaged files, which is no ``Exception``.
    """
    try:
        yield
    except OfflineStoreError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise OfflineStoreError(
            table, column=column, expected=expected, found=_first_line(error)
        ) from error


def _first_line(error: BaseException) -> str:
    # deltalake appends a native stack trace to some messages.
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
