"""Files of history: what is read, what is rejected and why."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_pipeline.batch.history import History, read_history
from shared.errors import InputError
from shared.task import Task
from tests.features.conftest import small_task

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HEADER = "id,text,film,critic,date,rating\n"
GOOD = "1,a fine film,heat,ann,2026-03-01T10:00:00Z,good\n"


def read(folder: Path, text: str | bytes, task: Task | None = None) -> History:
    path = folder / "history.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_history(path, task or small_task(), NOW)


def test_rows_become_mentions_and_labels(tmp_path: Path) -> None:
    """Columns map as the task says; the label is known after the task's delay."""
    history = read(tmp_path, HEADER + GOOD)
    (mention,), (label,) = history.mentions, history.labels
    assert (mention.mention.subject_id, mention.mention.source_id) == ("heat", "ann")
    assert mention.known_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (label.label.label, label.known_at - mention.known_at) == ("good", timedelta(seconds=10))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,only two fields\n", "2 fields where the header has 6"),
        ('2,"a broken "quote,heat,ann,2026-03-01,good\n', "expected a whole row"),
        ("2,,heat,ann,2026-03-01,good\n", "text: expected a value"),
        ("2,&nbsp; ,heat,ann,2026-03-01,good\n", "text with something to read"),
        (f"2,{'x' * 1_000_000},heat,ann,2026-03-01,good\n", "field larger than"),
        (f"2,{'x' * 20_000},heat,ann,2026-03-01,good\n", "at most 10000 characters"),
        ("2,fine,heat,ann,yesterday,good\n", "published_at: expected a valid datetime"),
        ("2,fine,heat,ann,,good\n", "published_at: expected a value, found nothing"),
        ("2,fine,heat,ann,1800-01-01,good\n", "a moment after 1970-01-01"),
        ("2,fine,heat,ann,2030-01-01,good\n", "not after 2026-03-02"),
        ("2,fine,heat,ann,2026-03-01,superb\n", "one of bad, good, found 'superb'"),
    ],
)
def test_bad_row_is_kept_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    """A bad row is rejected with its line, reason and bytes; its neighbours are read."""
    history = read(tmp_path, HEADER + GOOD + row + GOOD.replace("1,", "3,", 1))
    (letter,) = history.rejected
    assert [known.mention.mention_id for known in history.mentions] == ["1", "3"]
    assert letter.origin == "history.csv, line 3"
    assert reason in letter.reason
    assert len(letter.reason) < 500
    assert letter.raw.decode() == row


def test_open_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    """A quote that is never closed costs its own line only."""
    rest = "".join(GOOD.replace("1,", f"{n},", 1) for n in range(2, 500))
    history = read(tmp_path, HEADER + '1,"an open quote,heat,ann,2026-03-01,good\n' + rest)
    assert (len(history.mentions), len(history.rejected)) == (498, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header line"),
        (b"id,words\n1,fine\n", "a column 'text' (the task file's input.columns.text)"),
        (b"id,text\n1,\xff\xfe\n", "byte 0xff"),
        (b"text,text\nfine,bad\n", "'text' twice"),
    ],
)
def test_file_that_is_no_history_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """An unreadable file ends in an error that names it and what was expected."""
    with pytest.raises(InputError) as raised:
        read(tmp_path, content)
    assert message in str(raised.value)
    assert "history.csv" in str(raised.value)


def test_damaged_bytes_are_read_leniently_when_the_task_says_so(tmp_path: Path) -> None:
    """With encoding_errors = replace a damaged byte costs a character, not the row."""
    task = small_task()
    lenient = task.model_copy(
        update={"input": task.input.model_copy(update={"encoding_errors": "replace"})}
    )
    history = read(tmp_path, (HEADER + GOOD).encode().replace(b"fine", b"f\xffne"), lenient)
    assert "f�ne" in history.mentions[0].mention.text


def test_first_of_duplicated_rows_counts(tmp_path: Path) -> None:
    """Rows with one mention_id are one mention: the earliest, in whatever order they stand."""
    later = GOOD.replace("T10", "T11").replace("good", "bad")
    for rows in (GOOD + later, later + GOOD):
        history = read(tmp_path, HEADER + rows)
        assert [known.known_at.hour for known in history.mentions] == [10]
        assert [known.label.label for known in history.labels] == ["good"]
        assert history.duplicates == 1


def test_json_lines_and_parquet_read_as_csv_does(tmp_path: Path) -> None:
    """The three formats give the same history."""
    fields = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True))
    json_file, parquet_file = tmp_path / "h.jsonl", tmp_path / "h.parquet"
    json_file.write_text(json.dumps(fields) + "\n\n{broken\n")
    pl.DataFrame([fields]).write_parquet(parquet_file)
    wanted = read(tmp_path, HEADER + GOOD)
    for path, form, rejected in ((json_file, "jsonl", 1), (parquet_file, "parquet", 0)):
        task = small_task()
        task = task.model_copy(update={"input": task.input.model_copy(update={"format": form})})
        history = read_history(path, task, NOW)
        assert (history.mentions, history.labels) == (wanted.mentions, wanted.labels)
        assert len(history.rejected) == rejected


def test_label_without_its_time_is_known_after_the_delay(tmp_path: Path) -> None:
    """Where a file gives some labels a time and some none, the delay stands in for the latter."""
    columns = small_task().input.columns.model_copy(update={"labelled_at": "seen"})
    task = small_task()
    task = task.model_copy(update={"input": task.input.model_copy(update={"columns": columns})})
    rows = GOOD.strip() + ",2026-03-01T11:00:00Z\n" + GOOD.replace("1,", "2,", 1).strip() + ",\n"
    history = read(tmp_path, HEADER.strip() + ",seen\n" + rows, task)
    known = {label.label.mention_id: label.known_at for label in history.labels}
    assert known["1"] == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert known["2"] == datetime(2026, 3, 1, 10, 0, 10, tzinfo=UTC)


def test_typed_columns_of_parquet_are_taken(tmp_path: Path) -> None:
    """Dates and whole-number ids, as Parquet holds them, are times and ids."""
    path = tmp_path / "h.parquet"
    row = {
        "id": 7,
        "text": "fine",
        "film": 3,
        "critic": 4,
        "date": date(2026, 2, 1),
        "rating": "bad",
    }
    pl.DataFrame([row]).write_parquet(path)
    task = small_task()
    task = task.model_copy(update={"input": task.input.model_copy(update={"format": "parquet"})})
    (known,) = read_history(path, task, NOW).mentions
    assert known.known_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert (known.mention.mention_id, known.mention.subject_id) == ("7", "3")


def test_json_bombs_cost_their_own_line(tmp_path: Path) -> None:
    """Endless nesting and endless numbers are broken rows, like any other."""
    path = tmp_path / "h.jsonl"
    fields = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True))
    path.write_text("[" * 100_000 + "\n" + "9" * 5_000 + "\n" + json.dumps(fields) + "\n")
    task = small_task()
    task = task.model_copy(update={"input": task.input.model_copy(update={"format": "jsonl"})})
    history = read_history(path, task, NOW)
    assert (len(history.mentions), len(history.rejected)) == (1, 2)
    assert all(len(letter.reason) < 500 for letter in history.rejected)


def test_column_that_no_json_row_has_is_refused(tmp_path: Path) -> None:
    """A column of the task file that the file lacks is an error, not a column of nulls."""
    path = tmp_path / "h.jsonl"
    path.write_text('{"id": "1", "text": "fine"}\n')
    task = small_task()
    task = task.model_copy(update={"input": task.input.model_copy(update={"format": "jsonl"})})
    with pytest.raises(InputError, match="a column 'film'"):
        read_history(path, task, NOW)


def test_simulated_times_are_seeded(tmp_path: Path) -> None:
    """A replay gives the same arrival times each time, within its span and up to now."""
    task = small_task(
        input={
            "format": "csv",
            "columns": {"text": "text", "label": "rating"},
            "replay": {"seed": 3, "span": "2d"},
        }
    )
    rows = "text,rating\n" + "".join(f"film number {n},good\n" for n in range(50))
    first, second = read(tmp_path, rows, task), read(tmp_path, rows, task)
    times = [known.known_at for known in first.mentions]
    assert first.mentions == second.mentions
    assert times == sorted(times)
    assert (NOW - timedelta(days=2) <= times[0], times[-1] <= NOW) == (True, True)
    order = [int(known.mention.text.split()[-1]) for known in first.mentions]
    assert order != sorted(order)
    assert max(known.known_at for known in first.labels) <= NOW


def test_newest_and_the_rest_make_the_whole(tmp_path: Path) -> None:
    """Holding back the newest mentions takes them with their labels, and nothing else."""
    rows = "".join(GOOD.replace("1,", f"{n},", 1).replace("T10", f"T1{n}") for n in range(5))
    history = read(tmp_path, HEADER + rows)
    newest, rest = history.newest(2), history.without_newest(2)
    assert [known.mention.mention_id for known in newest.mentions] == ["3", "4"]
    assert rest.mentions + newest.mentions == history.mentions
    assert rest.labels + newest.labels == history.labels
    assert history.without_newest(0).mentions == history.mentions
    assert history.newest(9).mentions == history.mentions
    assert history.without_newest(9).mentions == []
