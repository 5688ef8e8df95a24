"""Rows of history a column at a time: of one mind with the rule for a single row."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.batch.column_admission import ADMITTED_SCHEMA, ColumnAdmission
from feature_pipeline.batch.history import read_history
from feature_pipeline.batch.history_file import Block, read_blocks
from feature_pipeline.batch.row_admission import RowAdmission
from shared.task import Task
from tests.features.conftest import small_task

NOW = datetime(2026, 3, 2, tzinfo=UTC)
GOOD = {
    "mention_id": "m1",
    "subject_id": "heat",
    "source_id": "ann",
    "text": "a fine film",
    "published_at": "2026-03-01T10:00:00Z",
    "language": "en",
    "url": "http://x.io/1",
    "label": "good",
    "labelled_at": "2026-03-01T11:00:00+02:00",
    "annotator": "bob",
}
ROLES = list(GOOD)
ODD_TEXTS = [
    *("", " ", "\t", "\x1c", "\x1f a", "\u2028", "a\u00a0", "\u200b", "\x85", "\x00", "ab\n"),
    *("é", "Ⅷ", "☃", "👍🏽", "&amp;", "&nbsp;", "&#32;", "&", "a&#9999999999;", "x y", "-", "a"),
    *("x" * 35, "x" * 36, "x" * 200, "x" * 201, "x" * 2_001, "x" * 10_001, "NaN", "null", "1.0"),
    *("bad", "Bad", "good ", "unknown", "heat", "&#x200b;", "\ufeff", "\u0301", "a\x1c"),
]
ODD_TIMES = [
    *("2026-03-01", "2026-02-30", "2026-03-01 10:00:00", "2026-03-01T10:00", "2026-03-01T24:00:00"),
    *("2026-03-01T10:00:60Z", "2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00.123456+05:30"),
    *("2026-03-01T10:00:00.123-23:59", "2026-03-01T10:00:00+24:00", "2026-03-01T10:00:00z"),
    *("1970-01-01", "1969-12-31T23:00:00-02:00", "1970-01-01T00:00:00.000001Z", "9999-12-31"),
    *(
        "2026-03-02T00:00:00Z",
        "2026-03-02T00:00:00.000001Z",
        "20260301",
        "2026-W09-1",
        "1700000000",
    ),
    *("yesterday", "2026-3-1", " 2026-03-01", "2026-03-01T10:00:00,5", "1000-01-01", "2999-01-01"),
    *("2026-03-01T10:00:00 +00:00", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00+0200"),
]
ODD_VALUES: list[Any] = [None, 7, 0, -1, True, 1.5, float("nan"), [], {}, "\ud800", 10**30]


def task_of(form: str, roles: list[str]) -> Task:
    columns = {role: role for role in roles}
    rules = {"format": form, "columns": columns, "label_delay": "10s"}
    if "published_at" not in roles:
        rules["replay"] = {"seed": 1, "span": "1d"}
    return small_task(input=rules)


def agrees(block: Block, task: Task, times: pl.Series | None = None) -> int:
    """Hold the columns against the rule, row by row; return how many rows were surely fit."""
    table = block.table
    if times is not None:
        table = table.with_columns(times.alias("published_at"))
    sure = ColumnAdmission(task, NOW).surely(table, block.whole)
    rule = RowAdmission(task, NOW)
    for found in sure.iter_rows(named=True):
        index = found["row"]
        mention, label = rule.admit(block.row(index), None if times is None else times[index])
        told = {**mention.model_dump(), **({} if label is None else label.model_dump())}
        if label is None:
            assert found["label"] is None
        for name, value in told.items():
            assert found[name] == value, (name, found, told)
    return sure.height


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw rows of which some fields are odd."""
    texts, times = st.sampled_from(ODD_TEXTS), st.sampled_from(ODD_TIMES)
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        row: dict[str, Any] = dict(GOOD)
        for role in draw(st.lists(st.sampled_from(ROLES), max_size=3)):
            wild = [st.sampled_from(ODD_VALUES), texts, st.text(max_size=4)]
            row[role] = draw(st.one_of([times, *wild] if role.endswith("_at") else wild))
        rows.append(row)
    return rows


@settings(max_examples=150)
@given(documents(), st.sets(st.sampled_from(ROLES)))
def test_columns_and_rule_agree(rows: list[dict[str, Any]], left_out: set[str]) -> None:
    """What the columns admit the rule admits, as the same mention and label, odd rows or not."""
    roles = [role for role in ROLES if role == "text" or role not in left_out]
    task = task_of("jsonl", roles)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "h.jsonl"
        complete = [dict.fromkeys(ROLES), *rows]  # no column is absent from the whole file
        path.write_text("".join(json.dumps(row) + "\n" for row in complete))
        (block,) = read_blocks(path, task.input)
    times = None
    if task.input.replay is not None:
        times = pl.Series([NOW] * len(complete), dtype=ADMITTED_SCHEMA["published_at"])
    agrees(block, task, times)


@pytest.mark.parametrize(
    ("role", "values"),
    [
        ("mention_id", pl.Series([1, None, 3])),
        ("mention_id", pl.Series(["a", "b", None], dtype=pl.Categorical)),
        ("mention_id", pl.Series([1.0, float("nan"), None])),
        ("mention_id", pl.Series([True, False, None])),
        ("mention_id", pl.Series([b"a", b"", None])),
        ("subject_id", pl.Series([1, None, 3])),
        ("language", pl.Series([float("nan"), 1.0, None])),
        ("published_at", pl.Series([date(2026, 2, 1), date(1969, 1, 1), None])),
        (
            "published_at",
            pl.Series([date(2026, 2, 1), date(2027, 1, 1), None]).cast(pl.Datetime("ms")),
        ),
        ("published_at", pl.Series([datetime(2026, 2, 1, tzinfo=UTC)]).dt.cast_time_unit("ns")),
        ("published_at", pl.Series([1, 2, 3])),
        ("labelled_at", pl.Series([date(2026, 2, 1), None, date(2026, 3, 3)])),
        ("labelled_at", pl.Series([1, None, None])),
        ("label", pl.Series([1, None, None])),
        ("label", pl.Series([None, None, None])),
    ],
)
def test_types_of_parquet_agree(tmp_path: Path, role: str, values: pl.Series) -> None:
    """Whatever type a Parquet column has, the columns and the rule are of one mind."""
    for left_out in (set[str](), {"mention_id"} - {role}, {"mention_id", "subject_id"} - {role}):
        roles = [name for name in ROLES if name not in left_out]
        table = pl.DataFrame([GOOD] * values.len()).with_columns(values.alias(role))
        table.write_parquet(tmp_path / "h.parquet")
        task = task_of("parquet", roles)
        (block,) = read_blocks(tmp_path / "h.parquet", task.input)
        agrees(block, task)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_ordinary_rows_need_no_look(tmp_path: Path, form: str) -> None:
    """Rows as people write them pass the columns' checks, all of them."""
    odd: list[dict[str, str | None]] = [
        {},
        {"text": "Salt &amp; pepper, “quoted” \nand on", "label": ""},
        {"text": "👍🏽"},
        {"subject_id": "", "source_id": None, "language": ""},
        {"published_at": "2026-02-01"},
        {"published_at": "2026-02-01 10:00:00"},
        {"published_at": "2026-02-01T10:00:00.123456+05:30", "labelled_at": ""},
    ]
    rows = [{**GOOD, "mention_id": f"m{n}", **changes} for n, changes in enumerate(odd)]
    table = pl.DataFrame(rows, schema=dict.fromkeys(ROLES, pl.String()))
    path = tmp_path / f"h.{form}"
    if form == "csv":
        table.write_csv(path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        table.write_parquet(path)
    task = task_of(form, ROLES)
    (block,) = read_blocks(path, task.input)
    assert agrees(block, task) == len(rows)
    assert len(read_history(path, task, NOW).mentions) == len(rows)
