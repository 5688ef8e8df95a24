"""The error of this offline store."""

from __future__ import annotations


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
