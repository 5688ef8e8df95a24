"""A file of texts to score, row by row: never more of it in memory than a few hundred lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Literal

from inference_pipeline.scoring.csv_records import csv_records
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
_PARQUET_ROWS = 1_000
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of a byte that is no UTF-8."""


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
                str(self.path),
                expected="a file to score",
                found="a folder" if self.path.is_dir() else "none",
                remedy="Check --input.",
            )
        format_of(self.path)

    def digest(self) -> str:
        """Return the SHA-256 of what the file holds, in hexadecimal digits.

        Raises:
            InputError: the file cannot be read.
        """
        with self._reading(), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def rows(self) -> Iterator[Row]:
        """Read the rows.

        Raises:
            InputError: the file is absent, cannot be read, or has no column for the text or
                several.
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

    def _row(self, line: int, values: Mapping[str, Any]) -> Row:
        fields = self._fields(values)
        for name, value in fields.items():
            byte = _ESCAPED_BYTE.search(value) if isinstance(value, str) else None
            if byte is not None:
                found = f"the byte 0x{ord(byte[0]) - 0xDC00:02x} in {shown(value)}"
                return Row(line, None, f"{name}: expected UTF-8, found {found}")
        return Row(line, fields)

    def _check_columns(self, found: Sequence[str]) -> None:
        for name in FIELDS:
            column = self._column(name)
            # A column that is named must be there; one that is not is used if it is.
            if (name == "text" or name in self.columns) and column not in found:
                is_utf8 = not any(_ESCAPED_BYTE.search(other) for other in found)
                raise InputError(
                    f"{self.path}, columns",
                    expected=f"a column {column!r} for the field {name}",
                    # Shown with escapes: a terminal obeys what stands in a file otherwise.
                    found=f"the columns {', '.join(shown(other) for other in sorted(set(found)))}",
                    remedy=f"Name it: --column {name}=COLUMN."
                    if is_utf8
                    else "Save the file as UTF-8.",
                )
            if found.count(column) > 1:
                raise InputError(
                    f"{self.path}, columns",
                    expected=f"one column {column!r} for the field {name}",
                    found=f"{found.count(column)} of this name",
                    remedy=f"Rename them, or name another: --column {name}=COLUMN.",
                )

    def _check_encoding(self, start: bytes) -> None:
        if start.startswith(_UTF_16) or b"\0" in start:
            raise InputError(
                str(self.path),
                expected="text in UTF-8",
                found="UTF-16, or no text",
                remedy="Save the file as UTF-8.",
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                str(self.path), expected="a readable file", found=str(error.strerror)
            ) from error

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        """Open the file as text. Bytes that are no UTF-8 become what a text may not hold."""
        with self._reading():
            try:
                with self.path.open("rb") as raw:
                    self.size = self.path.stat().st_size
                    packed = self.path.suffix == ".gz"
                    content = gzip.GzipFile(fileobj=raw) if packed else raw
                    self._check_encoding(content.peek(4)[:4])
                    text = TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline="")
                    yield self._noting_position(text, raw)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise InputError(str(self.path), expected="a gzip file", found=str(error)) from None

    def _noting_position(self, lines: Iterable[str], raw: IO[bytes]) -> Iterator[str]:
        for line in lines:
            self.position = raw.tell()
            yield line

    def _csv_rows(self) -> Iterator[Row]:
        with self._lines() as lines:
            records = csv_records(lines)
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
                    yield self._row(line, dict(zip(header, values, strict=True)))

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
                    yield self._row(number, values)
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
