"""Taking a file of history apart: rows with their place and bytes, broken ones included."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shared.errors import InputError
from shared.task import Input
from shared.validation import shown

_MAX_RECORD_LINES = 200
"""A quote that is never closed must not swallow the rest of a file."""


@dataclass(frozen=True)
class Row:
    """One row of a file, with its place and its bytes."""

    place: str
    raw: bytes
    fields: dict[str, Any] | None
    """By column; None when the row could not be taken apart."""
    broken: str = ""
    """What is wrong with a row that could not be taken apart."""


def read_rows(path: Path, rules: Input) -> list[Row]:
    """Return the rows of a CSV, JSON Lines or Parquet file; the first two may be gzipped.

    Raises:
        InputError: the file is absent, is not in the encoding or format that the task file says,
            or lacks a column that the task file names.
    """
    if not path.is_file():
        raise InputError(
            str(path), expected="a file of history", found="none", remedy="Check --input."
        )
    if rules.format == "parquet":
        return list(_parquet_rows(path, rules))
    try:
        text = _content(path).decode("utf-8-sig", errors=rules.encoding_errors)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, byte {error.start}",
            expected="UTF-8 text",
            found=f"byte 0x{error.object[error.start]:02x}",
            remedy='If some bytes are damaged, set encoding_errors = "replace" in [input].',
        ) from None
    if rules.format == "csv":
        return list(_csv_rows(path, text, rules))
    rows = list(_json_rows(path, text))
    _check_columns(path, {name for row in rows for name in row.fields or ()}, rules)
    return rows


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(str(path), expected="a gzip file", found=str(error)) from None


def _csv_rows(path: Path, text: str, rules: Input) -> Iterator[Row]:
    records = _csv_records(io.StringIO(text, newline="").readlines())
    _, first, header = next(records, (1, "", None))
    if not isinstance(header, list):
        raise InputError(
            f"{path}, line 1", expected="a header line", found=shown(first) if first else "no line"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(
            f"{path}, header", expected="columns of different names", found=f"{twice[0]!r} twice"
        )
    _check_columns(path, set(header), rules)
    for line, raw, values in records:
        place = f"{path.name}, line {line}"
        if isinstance(values, csv.Error):
            yield Row(place, raw.encode(), None, str(values))
        elif len(values) != len(header):
            problem = f"{len(values)} fields where the header has {len(header)}"
            yield Row(place, raw.encode(), None, problem)
        else:
            yield Row(place, raw.encode(), dict(zip(header, values, strict=True)))


def _csv_records(lines: list[str]) -> Iterator[tuple[int, str, list[str] | csv.Error]]:
    """Yield line number, text and values of each record. Reading goes on after a broken line."""
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at : at + _MAX_RECORD_LINES], strict=True)
        values: list[str] | csv.Error
        try:
            values = next(reader)
            used = reader.line_num
        except csv.Error as error:
            values, used = error, 1
        if values:
            yield at + 1, "".join(lines[at : at + used]), values
        at += used


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path.name}, line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(place, line.encode(), None, f"no JSON: {error}"[:200])
            continue
        if isinstance(fields, dict):
            yield Row(place, line.encode(), fields)
        else:
            yield Row(place, line.encode(), None, f"JSON, but no object: {shown(fields)}")


def _parquet_rows(path: Path, rules: Input) -> Iterator[Row]:
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(str(path), expected="a Parquet file", found=str(error)) from error
    _check_columns(path, set(table.columns), rules)
    for number, fields in enumerate(table.iter_rows(named=True), start=1):
        raw = json.dumps(fields, default=str, ensure_ascii=False).encode()
        yield Row(f"{path.name}, row {number}", raw, fields)


def _check_columns(path: Path, found: set[str], rules: Input) -> None:
    named = rules.columns.model_dump(exclude_none=True)
    for role, column in named.items():
        if column not in found:
            raise InputError(
                f"{path}, header",
                expected=f"a column {column!r} (the task file's input.columns.{role})",
                found=f"the columns {', '.join(sorted(found))}",
                remedy="Mend the task file or the file.",
            )
