"""Files to score, taken apart: lines, records, columns, and what is broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from inference_pipeline.scoring.input_file import InputFile
from shared.errors import InputError


def fields(path: Path, **columns: str) -> list[tuple[int, object, str]]:
    """Return line, text and what is broken, of each row."""
    return [
        (row.line, row.fields and row.fields["text"], row.broken)
        for row in InputFile(path, columns).rows()
    ]


def test_lines_are_told_though_records_span_or_break(tmp_path: Path) -> None:
    """A quoted line break counts, and a broken record does not swallow those after it."""
    path = tmp_path / "in.csv"
    path.write_bytes(b'\xef\xbb\xbftext,n\r\n"two\nlines",1\r\nshort\r\n\r\n"open,2\r\nlast,3\r\n')
    found = fields(path)
    assert [(line, text) for line, text, _ in found] == [
        (2, "two\nlines"),
        (4, None),
        (6, None),
        (7, "last"),
    ]
    assert found[1][2] == "1 fields where the header has 2"
    assert "unexpected end of data" in found[2][2]


def test_json_lines_are_taken_apart_one_by_one(tmp_path: Path) -> None:
    """A line that is no JSON object is named, and the others are read."""
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n\n{"text"\n[1]\n{"text": "\\ud83d\\ude00"}'))
    found = fields(path)
    assert [(line, text) for line, text, _ in found] == [(1, "a"), (3, None), (4, None), (5, "😀")]
    assert "no JSON" in found[1][2]
    assert "no object" in found[2][2]


def test_parquet_is_read_by_column(tmp_path: Path) -> None:
    """The rows of a Parquet file are counted; columns have the names that are given."""
    path = tmp_path / "in.parquet"
    pl.DataFrame({"review": ["a", None], "other": [[1], [2]]}).write_parquet(path)
    assert fields(path, text="review") == [(1, "a", ""), (2, None, "")]
    with pytest.raises(InputError, match="a column 'text' for the field text"):
        fields(path)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.gz", "in.parquet"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    """A file that is not what its name says ends in an error with its name."""
    (tmp_path / name).write_bytes(b"PAR? something else altogether")
    with pytest.raises(InputError, match=name):
        fields(tmp_path / name)
