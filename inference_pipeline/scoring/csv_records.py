"""The records of a CSV file, each with its line, though some span lines and some are broken."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice

_MAX_RECORD_LINES = 200
"""A quote that is never closed must not swallow the rest of a file."""


def csv_records(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield line number and values of each record. Reading goes on after a broken line."""
    ahead: deque[str] = deque()
    at = 1
    while True:
        ahead.extend(islice(lines, _MAX_RECORD_LINES - len(ahead)))
        if not ahead:
            return
        reader = csv.reader(iter(ahead), strict=True)
        values: list[str] | csv.Error
        try:
            values = next(reader)
            used = reader.line_num
        except csv.Error as error:
            values, used = error, 1
        if values:
            yield at, values
        at += used
        for _ in range(used):
            ahead.popleft()
