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


def test_bytes_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    """A row in Latin-1 is named with the byte; in a column that is not asked for it may stand."""
    path = tmp_path / "in.csv"
    path.write_bytes("text,note\ncafé,a\ngood,é\n".encode("latin-1"))
    found = fields(path)
    assert [(line, text) for line, text, _ in found] == [(2, None), (3, "good")]
    assert found[0][2] == r"text: expected UTF-8, found the byte 0xe9 in 'caf\udce9'"
    path = tmp_path / "in.jsonl"
    path.write_bytes('{"text": "café"}\n'.encode("latin-1"))
    assert "expected UTF-8, found the byte 0xe9" in fields(path)[0][2]
    path = tmp_path / "header.csv"
    path.write_bytes("été,\x1b[31m\nx,y\n".encode("latin-1"))
    with pytest.raises(InputError, match="Save the file as UTF-8") as error:
        fields(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.csv.gz"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, name: str, encoding: str) -> None:
    """UTF-16 and UTF-32 are told at once, and not as a reject for each row."""
    content = '{"text": "a"}\n'.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(InputError, match=r"expected text in UTF-8.*Save the file as UTF-8"):
        fields(tmp_path / name)


def test_two_columns_for_one_field_are_refused(tmp_path: Path) -> None:
    """Which of them is meant cannot be known; columns that are not asked for may be twice there."""
    path = tmp_path / "in.csv"
    path.write_text("text,n,n,text\na,1,2,b\n")
    with pytest.raises(InputError, match=r"expected one column 'text'.*found 2 of this name"):
        fields(path)
    path.write_text("text,n,n\na,1,2\n")
    assert fields(path) == [(2, "a", "")]
