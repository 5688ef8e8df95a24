"""Task files: what they may say, and how a mistake is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import TaskError
from shared.features import count_columns, model_columns
from shared.task import load_task

SAMPLE = Path(__file__).parents[2] / "tasks" / "brand_mentions.toml"


def test_sample_task_reads() -> None:
    """The sample's windows, labels and features are what its file says."""
    task = load_task(SAMPLE)
    assert [span.name for span in task.activity.spans] == ["1h", "24h", "7d"]
    assert task.activity.horizon == timedelta(days=7, hours=6)
    assert len(count_columns(task)) == 3 * (1 + 3)
    assert model_columns(task)[:2] == ["mentions_1h", "share_negative_1h"]
    assert task.subjects.resolve("flying @JetBlue, not @united") == "jetblue"
    assert task.sources.resolve("RT @ann: late") == "ann"


def test_overrides_take_the_place_of_fields() -> None:
    """A field, or one of a table, is otherwise; a mistake is named as if it stood in the file."""
    labels = {"behaviour_labels": {"positive": "good"}}
    before, after = load_task(SAMPLE), load_task(SAMPLE, {"seed": 8, **labels})
    assert (after.training.seed, after.training.behaviour_labels) == (8, {"positive": "good"})
    assert after.training.epochs == before.training.epochs
    for overrides, place in (
        ({"epoch": 2}, "training.epoch"),
        ({"behaviour_labels": {"positive": 2}}, "training.behaviour_labels.positive"),
        ({"gate": {"min_accuracy": 0}}, "training.gate"),
        ({"base": "elsewhere"}, "training.base"),
    ):
        with pytest.raises(TaskError) as refused:
            load_task(SAMPLE, overrides)
        assert refused.value.place == f"{SAMPLE}, {place}"


SCHEDULE = """
[[training.schedules]]
cron = "0 3 * * mon"
reason = "weekly"
overrides = { epochs = 3 }
"""


def test_schedules(tmp_path: Path) -> None:
    """They are read with their overrides, and stand in no record of what a model came from."""
    path = tmp_path / "task.toml"
    path.write_text(SAMPLE.read_text() + SCHEDULE)
    (schedule,) = load_task(path).training.schedules
    assert (schedule.cron, schedule.queue, schedule.overrides) == (
        "0 3 * * mon",
        "default",
        {"epochs": 3},
    )
    assert "schedules" not in load_task(path).model_dump()["training"]
    for old, new, words in (
        ("0 3 * * mon", "0 3 * *", "five fields"),
        ("epochs = 3", "epochs = 0", "whose overrides fit: epochs .*, found something else"),
        ("epochs = 3", 'base = "x"', "leave base alone"),
        ('reason = "weekly"', "reasons = 1", "no field of this name"),
    ):
        path.write_text(SAMPLE.read_text() + SCHEDULE.replace(old, new))
        with pytest.raises(TaskError, match=words):
            load_task(path)


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ("[input]", "[input]\nseparator = ';'", "input.separator", "no field of this name"),
        ('text = "text"', 'texts = "text"', "input.columns.text", "a value, found nothing"),
        ('format = "csv"', 'format = "xml"', "input.format", "'csv', 'jsonl' or 'parquet'"),
        ('"1h" = "5m"', '"1h" = "7m"', "activity", "a whole number of tiles of 0:07:00"),
        ('"1h" = "5m"', '"an hour" = "5m"', "activity", "a whole number and one of s, m, h, d"),
        ("max_length = 64", 'max_length = "long"', "training.max_length", "a valid integer"),
        ("[input.replay]", "[input.replays]", "input.replays", "no field of this name"),
        ('"neutral"', '"so so"', "task", "labels of letters, digits and _"),
        ('"neutral"', '"negative"', "labels", "labels that differ, found ['negative', "),
        ('"neutral"', '"mentions"', "task", "labels that are not 'mentions'"),
        ('"neutral"', '"share_negative"', "task", "nor 'share_' before another label"),
        ('"1h" = "5m"', '"1 h" = "5m"', "activity", "windows such as '24h'"),
        ('"1h" = "5m"', '"0h" = "5m"', "activity", "windows such as '24h'"),
        ("pattern = '", "pattern = '(", "sources.pattern", "regular expression"),
        ('name = "brand', 'name = "Brand', "name", "match pattern"),
        ("[input]", "[input", "task.toml", "a TOML document"),
        ("[input]", "x = " + "[" * 100_000 + "\n[input]", "task.toml", "a TOML document"),
        ('label_delay = "1h"', 'label_delay = "999999999999d"', "label_delay", "billion days"),
        ('label_delay = "1h"', 'label_delay = "36526d"', "label_delay", "a hundred years, at most"),
        ('"1h" = "5m"', '"1h" = "999999999d"', "windows.1h", "a hundred years, at most"),
        ('"1h" = "5m"', '"106000000d" = "1d"', "activity", "at most, unlike '106000000d'"),
        ('"1h" = "5m"', '"999999999d" = "1d"', "activity", "at most, unlike '999999999d'"),
        (r"(\w+)", "someone", "sources.pattern", "a pattern with a group"),
        ('"@jetblue", ', '"@united", ', "subjects", "each alias once"),
        ("epochs = 1", "epochs = 1_000_000_000", "training.epochs", "less than or equal to 10000"),
        ("epochs = 1", "epochs = true", "training.epochs", "a valid integer, found True"),
        ("epochs = 1", "epochs = '2'", "training.epochs", "a valid integer, found '2'"),
        ("= 0.0", "= nan", "min_gain_over_baseline", "a finite number"),
    ],
)
def test_mistake_is_named(tmp_path: Path, old: str, new: str, place: str, told: str) -> None:
    """The message names the file, the field, what was expected and what was found."""
    path = tmp_path / "task.toml"
    text = SAMPLE.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TaskError) as raised:
        load_task(path)
    assert str(path) in str(raised.value)
    assert place in raised.value.place
    assert told in str(raised.value)


def test_an_empty_range_of_a_search_is_named(tmp_path: Path) -> None:
    """By the names of the file alone, with what stands there."""
    path = tmp_path / "task.toml"
    path.write_text(f"{SAMPLE.read_text()}\n[training.search]\nepochs = {{ min = 3, max = 1 }}\n")
    with pytest.raises(TaskError) as raised:
        load_task(path)
    assert raised.value.place == f"{path}, training.search.epochs"
    assert (
        str(raised.value)
        .partition("expected ")[2]
        .startswith("min below max, found {'min': 3, 'max': 1}.")
    )


def test_absent_task_file_is_named(tmp_path: Path) -> None:
    """A task file that is not there is an error that says how to give one."""
    with pytest.raises(TaskError, match="Set FTI_TASK, or give --task"):
        load_task(tmp_path / "none.toml")
