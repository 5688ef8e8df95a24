"""Taking a file of history apart: rows with their place and bytes, broken ones included."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from shared.errors import InputError
from shared.task import Input
from shared.validation import shown

IDS = ("mention_id", "subject_id", "source_id")
"""What may stand as a whole number in a file, and is text all the same."""
_MAX_RECORD_LINES = 200
"""A quote that is never closed must not swallow the rest of a file."""
_SLICE_LINES = 10_000
"""Lines that are parsed at a time; more than a record may have."""
_BLOCK_ROWS = 50_000
"""Rows that stand as Python objects at a time."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Row:
    """One row of a file, with its place and its bytes."""

    place: str
    raw: bytes
    fields: dict[str, Any] | None
    """By column; None when the row could not be taken apart."""
    broken: str = ""
    """What is wrong with a row that could not be taken apart."""


@dataclass(frozen=True)
class Block:
    """Rows that stand together in a file, column by column.

    Attributes:
        table: a row per row of the file, a column per role that the task file maps. Texts are
            strings; a Parquet file's other types stay.
        whole: tells of each row whether ``table`` shows it; it does not where the row is broken
            or holds something that is no text.
        row: returns a row by its index in the block, as it stands in the file.
    """

    table: pl.DataFrame
    whole: pl.Series
    row: Callable[[int], Row]


def read_blocks(path: Path, rules: Input) -> list[Block]:
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
        return [_parquet_block(path, rules)]
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
        return list(_csv_blocks(path, text, rules))
    return _json_blocks(path, text, rules)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(str(path), expected="a gzip file", found=str(error)) from None


def _csv_blocks(path: Path, text: str, rules: Input) -> Iterator[Block]:
    lines = io.StringIO(text, newline="").readlines()
    records = _csv_records(lines)
    at, used, header = next(records, (0, 0, None))
    if not isinstance(header, list):
        raise InputError(
            f"{path}, line 1",
            expected="a header line",
            found=shown("".join(lines[at : at + used])) if used else "no line",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(
            f"{path}, header", expected="columns of different names", found=f"{twice[0]!r} twice"
        )
    _check_columns(path, set(header), rules)
    while part := list(islice(records, _BLOCK_ROWS)):
        table, whole = _csv_columns(header, [values for _, _, values in part], rules)
        begins = [at for at, _, _ in part]
        yield Block(table, whole, partial(_csv_row, path, lines, header, begins))


def _csv_columns(
    header: list[str], records: list[list[str] | csv.Error], rules: Input
) -> tuple[pl.DataFrame, pl.Series]:
    """Return the columns that the task file names, and which rows are whole."""
    blank = [""] * len(header)
    whole = [isinstance(values, list) and len(values) == len(header) for values in records]
    rows = (values if fits else blank for values, fits in zip(records, whole, strict=True))
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    roles = _roles(rules)
    table = pl.DataFrame(
        {role: columns[column] for role, column in roles.items()},
        schema=dict.fromkeys(roles, pl.String()),
    )
    return table, pl.Series(whole, dtype=pl.Boolean)


def _csv_row(path: Path, lines: list[str], header: list[str], begins: list[int], index: int) -> Row:
    at = begins[index]
    used, values = _csv_record(lines, at)
    place, raw = f"{path.name}, line {at + 1}", "".join(lines[at : at + used]).encode()
    if isinstance(values, csv.Error):
        return Row(place, raw, None, str(values))
    if len(values) != len(header):
        problem = f"{len(values)} fields where the header has {len(header)}"
        return Row(place, raw, None, problem)
    return Row(place, raw, dict(zip(header, values, strict=True)))


def _csv_records(lines: list[str]) -> Iterator[tuple[int, int, list[str] | csv.Error]]:
    """Yield the first line's index, the number of lines and the values of each record.

    Reading goes on after a broken line.
    """
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at : at + _SLICE_LINES], strict=True)
        done = 0
        try:
            for values in reader:
                used = reader.line_num - done
                if used > _MAX_RECORD_LINES:
                    break
                if values:
                    yield at + done, used, values
                done = reader.line_num
        except csv.Error:
            pass  # it may only be the slice's end: what is not done is read again, by itself
        at += done
        if at < len(lines) and done < _SLICE_LINES:
            used, record = _csv_record(lines, at)
            if record:
                yield at, used, record
            at += used


def _csv_record(lines: list[str], at: int) -> tuple[int, list[str] | csv.Error]:
    """Return how many lines the record at a line takes, and its values; a broken one takes one."""
    reader = csv.reader(lines[at : at + _MAX_RECORD_LINES], strict=True)
    try:
        values = next(reader)
    except csv.Error as error:
        return 1, error
    return reader.line_num, values


def _json_blocks(path: Path, text: str, rules: Input) -> list[Block]:
    lines = [
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    ]
    roles = _roles(rules)
    missing, found = set(roles.values()), set[str]()
    blocks = []
    for begin in range(0, len(lines), _BLOCK_ROWS):
        part = lines[begin : begin + _BLOCK_ROWS]
        rows: list[dict[str, Any] | None] = []
        for _, line in part:
            fields, _broken = _json_fields(line)
            rows.append(fields)
            if missing and fields is not None:
                found |= fields.keys()
                missing -= fields.keys()
        blocks.append(_json_block(path, part, rows, roles))
    if missing:
        _check_columns(path, found, rules)
    return blocks


def _json_block(
    path: Path,
    lines: list[tuple[int, str]],
    rows: list[dict[str, Any] | None],
    roles: dict[str, str],
) -> Block:
    def row(index: int) -> Row:
        number, line = lines[index]
        fields, broken = _json_fields(line)
        return Row(f"{path.name}, line {number}", line.encode(), fields, broken)

    whole = pl.Series([fields is not None for fields in rows], dtype=pl.Boolean)
    columns = {}
    for role, column in roles.items():
        values = [None if fields is None else fields.get(column) for fields in rows]
        if role in IDS and "mention_id" in roles:  # else numbers are a part of the identity
            values = [str(value) if type(value) is int else value for value in values]
        columns[role], is_text = _texts(values)
        whole &= is_text
    return Block(pl.DataFrame(columns), whole, row)


def _json_fields(line: str) -> tuple[dict[str, Any] | None, str]:
    """Return the fields of a line, or what is wrong with it."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"no JSON: {error}"[:200]
    if isinstance(fields, dict):
        return fields, ""
    return None, f"JSON, but no object: {shown(fields)}"


def _texts(values: list[Any]) -> tuple[pl.Series, pl.Series]:
    """Return the values that are strings, and tell of each whether nothing else was there."""
    kept = [value if value is None or _is_text(value) else None for value in values]
    is_text = [
        value is None or taken is not None for value, taken in zip(values, kept, strict=True)
    ]
    return pl.Series(kept, dtype=pl.String), pl.Series(is_text, dtype=pl.Boolean)


def _is_text(value: object) -> bool:
    # Half a surrogate pair, which JSON can tell, is no text that a table could hold.
    return isinstance(value, str) and (value.isascii() or not _SURROGATE.search(value))


def _parquet_block(path: Path, rules: Input) -> Block:
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(str(path), expected="a Parquet file", found=str(error)) from error
    _check_columns(path, set(table.columns), rules)

    def row(index: int) -> Row:
        fields = table.row(index, named=True)
        raw = json.dumps(fields, default=str, ensure_ascii=False).encode()
        return Row(f"{path.name}, row {index + 1}", raw, fields)

    shown_columns = table.select(
        pl.col(column).alias(role) for role, column in _roles(rules).items()
    )
    return Block(shown_columns, pl.Series([True]).new_from_index(0, table.height), row)


def _roles(rules: Input) -> dict[str, str]:
    """Return the column of each role that the task file maps."""
    return rules.columns.model_dump(exclude_none=True)


def _check_columns(path: Path, found: set[str], rules: Input) -> None:
    for role, column in _roles(rules).items():
        if column not in found:
            raise InputError(
                f"{path}, header",
                expected=f"a column {column!r} (the task file's input.columns.{role})",
                found=f"the columns {', '.join(sorted(found))}",
                remedy="Mend the task file or the file.",
            )
