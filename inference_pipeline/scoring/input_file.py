"""A file of texts to score, row by row: never more of it in memory than a few hundred lines."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from shared.errors import InputError
from shared.validation import shown

Format = Literal["csv", "jsonl", "parquet"]

FIELDS = ("text", "subject_id", "source_id", "id")
"""What a column can hold. Only the text must be there."""

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_MAX_RECORD_LINES = 200
"""A quote that is never closed must not swallow the rest of a file."""
_PARQUET_ROWS = 1_000


@dataclass(frozen=True)
class Row:
    """One row of a file."""

    line: int
    """Where it begins; in Parquet, which row it is. Counted from 1."""
    fields: Mapping[str, Any] | None
    """By field; None when the row could not be taken apart."""
    broken: str = ""
    """What is wrong with a row that could not be taken apart."""


def format_of(path: Path) -> Format:
    """Return the format that a file's name tells; ``.gz`` at its end is not looked at.

    Raises:
        InputError: it tells none.
    """
    name = path.with_suffix("") if path.suffix == ".gz" else path
    if name.suffix not in _SUFFIXES:
        raise InputError(
            str(path), expected=f"a name that ends in {', '.join(_SUFFIXES)}", found=path.name
        )
    return _SUFFIXES[name.suffix]


@dataclass
class InputFile:
    """A CSV, JSON Lines or Parquet file; the first two may be gzipped."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column holds which field, where it is not called so."""
    position: int = field(default=0, init=False)
    """How far reading has come, in units of `size`."""
    size: int = field(default=0, init=False)
    """Bytes of the file, rows of a Parquet file; known when reading has begun."""

    def check(self) -> None:
        """Raise InputError unless the file is there, with a name that tells its format."""
        if not self.path.is_file():
            raise InputError(
                str(self.path), expected="a file to score", found="none", remedy="Check --input."
            )
        format_of(self.path)

    def rows(self) -> Iterator[Row]:
        """Read the rows.

        Raises:
            InputError: the file is absent, cannot be read, or has no column for the text.
        """
        self.check()
        match format_of(self.path):
            case "csv":
                return self._csv_rows()
            case "jsonl":
                return self._json_rows()
            case "parquet":
                return self._parquet_rows()

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)

    def _fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values.get(self._column(name)) for name in FIELDS}

    def _check_columns(self, found: Iterable[str]) -> None:
        there = set(found)
        for name in FIELDS:
            # A column that is named must be there; one that is not is used if it is.
            if (name == "text" or name in self.columns) and self._column(name) not in there:
                raise InputError(
                    f"{self.path}, columns",
                    expected=f"a column {self._column(name)!r} for the field {name}",
                    found=f"the columns {', '.join(sorted(there))}",
                    remedy=f"Name it: --column {name}=COLUMN.",
                )

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        """Open the file as text. Bytes that are no UTF-8 become what a text may not hold."""
        self.size = self.path.stat().st_size
        try:
            with self.path.open("rb") as raw:
                packed = self.path.suffix == ".gz"
                content = gzip.GzipFile(fileobj=raw) if packed else raw
                text = TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline="")
                yield self._noting_position(text, raw)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(str(self.path), expected="a gzip file", found=str(error)) from None
        except OSError as error:
            raise InputError(
                str(self.path), expected="a readable file", found=str(error.strerror)
            ) from error

    def _noting_position(self, lines: Iterable[str], raw: IO[bytes]) -> Iterator[str]:
        for line in lines:
            self.position = raw.tell()
            yield line

    def _csv_rows(self) -> Iterator[Row]:
        with self._lines() as lines:
            records = _csv_records(lines)
            _, header = next(records, (1, None))
            if not isinstance(header, list):
                raise InputError(
                    f"{self.path}, line 1", expected="a header line", found="none that can be read"
                )
            self._check_columns(header)
            for line, values in records:
                if isinstance(values, csv.Error):
                    yield Row(line, None, str(values))
                elif len(values) != len(header):
                    problem = f"{len(values)} fields where the header has {len(header)}"
                    yield Row(line, None, problem)
                else:
                    yield Row(line, self._fields(dict(zip(header, values, strict=True))))

    def _json_rows(self) -> Iterator[Row]:
        with self._lines() as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield Row(number, None, f"no JSON: {error}"[:200])
                    continue
                if isinstance(values, dict):
                    yield Row(number, self._fields(values))
                else:
                    yield Row(number, None, f"JSON, but no object: {shown(values)}")

    def _parquet_rows(self) -> Iterator[Row]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path) as file:
                self.size = file.metadata.num_rows
                self._check_columns(file.schema_arrow.names)
                names = [self._column(name) for name in FIELDS]
                wanted = [name for name in names if name in file.schema_arrow.names]
                for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted):
                    for values in batch.to_pylist():
                        self.position += 1
                        yield Row(self.position, self._fields(values))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                str(self.path), expected="a readable Parquet file", found=type(error).__name__
            ) from error


def _csv_records(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
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
