"""Data quality: what is expected, how it is reported, what it stops and what it never stops."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from feature_pipeline.bootstrap.history import backfill, quality
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.cli import main
from feature_pipeline.definition.mention_features import mention_label, mention_text
from feature_pipeline.definition.records import (
    KnownLabel,
    KnownMention,
    label_table,
    mention_table,
)
from feature_pipeline.definition.transform import Tables
from feature_pipeline.progress import NoProgress
from feature_pipeline.quality.expectations import expectations_of
from feature_pipeline.quality.findings import measure
from feature_pipeline.quality.metrics import QualityMetrics
from feature_pipeline.quality.report import report_on
from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.settings import FeatureSettings
from shared.errors import InputError
from shared.events import Label, Mention
from shared.features import MENTION_LABEL, MENTION_TEXT
from shared.places import offline_folder
from shared.task import Task
from tests.features.conftest import START, small_task
from tests.features.test_backfill import NOW, ROWS, TASK

ALL: dict[str, Any] = {
    "characters": {"min": 3, "max": 20, "allowed": 0.25},
    "words": {"min": 2, "allowed": 0.25},
    "named_subject": {"allowed": 0.25},
    "named_source": {"allowed": 0.25},
    "language": {"known": ["en", "de"], "allowed": 0.25},
    "original": {"allowed": 0.25},
    "delay": {"max": "1h", "allowed": 0.25},
    "labelled": {"allowed": 0.25},
    "label_share": {"min": 0.25, "max": 0.75},
}
GOOD = {"text": "a fine text", "subject_id": "heat", "source_id": "ann", "language": "en"}


def expecting(**quality: Any) -> Task:
    return small_task(quality=quality)


def tables(mentions: list[dict[str, Any]], labels: list[str]) -> Tables:
    """Return the rows of mentions and of labels for the first of them."""
    known = []
    for number, given_fields in enumerate(mentions):
        fields = {"text": f"a fine text {number}", **given_fields}
        delay = fields.pop("delay", timedelta(minutes=1))
        known.append(
            KnownMention(
                Mention(
                    **({k: v for k, v in GOOD.items() if k != "text"} | fields),
                    mention_id=str(number),
                    published_at=START - delay,
                ),
                START,
            )
        )
    said = [
        KnownLabel(
            Label(mention_id=str(number), label=label, labelled_at=START), START, "heat", "ann"
        )
        for number, label in enumerate(labels)
    ]
    return {
        MENTION_TEXT: mention_text(mention_table(known)),
        MENTION_LABEL: mention_label(label_table(said)),
    }


BAD = [
    ("characters", {"text": "an endless text, far too long"}),
    ("words", {"text": "word"}),
    ("named_subject", {"subject_id": "other"}),
    ("named_source", {"source_id": "unknown"}),
    ("language", {"language": "fr"}),
    ("language", {"language": None}),
    ("original", {"text": "A fine text 0!"}),
    ("delay", {"delay": timedelta(hours=2)}),
    ("delay", {"delay": timedelta(seconds=-1)}),
]


@pytest.mark.parametrize(("name", "bad"), BAD, ids=lambda part: str(part)[:40])
def test_too_many_failing_rows_break_an_expectation(name: str, bad: dict[str, Any]) -> None:
    """As many as allowed are no matter; one more is told by name."""
    known = [one for one in expectations_of(expecting(**ALL)) if one.view == MENTION_TEXT]
    known = [one for one in known if not one.of_history]
    some, many = (tables([{}] * (8 - count) + [bad] * count, []) for count in (2, 3))
    assert all(one.holds for one in measure(known, some[MENTION_TEXT]))
    found = measure(known, many[MENTION_TEXT])
    (broken,) = [one for one in found if not one.holds]
    assert (broken.expectation.name, broken.failing, broken.rows) == (name, 3, 8)


def test_report_shows_failing_rows() -> None:
    """What breaks is told with some rows, and stands on the page, whose title cannot harm."""
    rows = tables([{}] * 2 + [{"text": "word"}] * 4, ["good", "bad"] * 3)
    report = report_on(expecting(words={"min": 2}), rows, "<t>")
    (broken,) = report.broken
    assert (broken.expectation.name, broken.failing) == ("words", 4)
    assert report.examples == {"words": [f"{number}: 'word'" for number in (2, 3, 4)]}
    assert "words: has 2+ words" in report.page()
    assert "<t>" not in report.page()


@pytest.mark.parametrize(
    ("labels", "broken"),
    [
        (["good"] * 6 + ["bad"] * 2, []),
        (["good"] * 7 + ["bad"], ["fewest_bad", "most_good"]),
        (["good", "bad"] * 3, []),
        (["good", "bad"] * 2 + ["good"], ["labelled"]),
        (["good", "bad"] * 3 + ["superb"], ["label_set"]),
    ],
)
def test_labels_are_balanced_known_and_there(labels: list[str], broken: list[str]) -> None:
    """Shares of labels, labels that the task lacks, and mentions without one."""
    report = report_on(expecting(**ALL), tables([{}] * 8, labels), "t")
    assert sorted(finding.expectation.name for finding in report.broken) == broken


def test_nothing_is_expected_of_no_rows() -> None:
    """An empty history breaks nothing, and has a page to say so."""
    report = report_on(expecting(**ALL), tables([], []), "t")
    assert (report.broken, "No rows" in report.page()) == ([], True)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.sampled_from(BAD), max_size=8), st.lists(st.sampled_from(["good", "bad"])))
def test_stream_and_report_find_the_same(
    bad: list[tuple[str, dict[str, Any]]], labels: list[str]
) -> None:
    """What is measured in the stream is what the library finds in a history."""
    task = expecting(**ALL)
    rows = tables([{}, *(change for _, change in bad)], labels[: len(bad)])
    reported = {one.expectation.name: one for one in report_on(task, rows, "t").findings}
    for view, frame in rows.items():
        known = [e for e in expectations_of(task) if e.view == view and not e.of_history]
        for finding in measure(known, frame):
            other = reported[finding.expectation.name]
            assert (finding.rows, finding.failing) == (other.rows, other.failing)
            assert finding.holds == other.holds


def figures(registry: CollectorRegistry) -> dict[str, float]:
    """Return the values of a registry by name and label."""
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_stream_is_judged_a_window_at_a_time() -> None:
    """Rows wait for their window; its share is told, and what breaks is counted."""
    registry = CollectorRegistry()
    watch = StreamWatch(expecting(window=4, **ALL), QualityMetrics(registry))
    short = 'fti_quality_failing_share{expectation="words"}'
    watch.observe([tables([{}, {"text": "word"}], ["good"])])
    found = figures(registry)
    assert short not in found
    assert found['fti_quality_broken_total{expectation="words"}'] == 0
    watch.observe([tables([{}], []), tables([{"text": "other"}], [])])
    found = figures(registry)
    assert found[short] == 0.5
    assert found['fti_quality_allowed_share{expectation="words"}'] == 0.25
    assert found['fti_quality_broken_total{expectation="words"}'] == 1
    assert found['fti_quality_rows_total{expectation="words"}'] == 4
    assert 'fti_quality_rows_total{expectation="label_set"}' not in found
    watch.observe([tables([{}] * 4, ["good", "bad"] * 2)])
    found = figures(registry)
    assert (found[short], found['fti_quality_broken_total{expectation="words"}']) == (0, 1)
    assert found["fti_quality_errors_total"] == 0


def test_failing_check_never_stops_the_stream() -> None:
    """Rows on which the check itself fails are counted as such, and the next ones are judged."""
    registry = CollectorRegistry()
    watch = StreamWatch(expecting(window=1, **ALL), QualityMetrics(registry))
    rows = tables([{}], ["good"])
    watch.observe([rows | {MENTION_TEXT: rows[MENTION_TEXT].drop("words")}])
    watch.observe([{}])
    assert figures(registry)["fti_quality_errors_total"] == 2
    watch.observe([rows])
    assert figures(registry)['fti_quality_rows_total{expectation="words"}'] == 1


def films(folder: Path, quality: str) -> FeaturePipeline:
    task = folder / "films.toml"
    task.write_text(TASK.replace("NAME", "films") + quality)
    return FeaturePipeline(FeatureSettings(home=folder / "home", task=task))


def test_backfill_stops_before_it_writes(tmp_path: Path) -> None:
    """The error names expectation, figures, rows and report; nothing else is left behind."""
    history = tmp_path / "history.csv"
    history.write_text(ROWS)
    strict = "[quality.words]\nmin = 3\nallowed = 0.5"
    with pytest.raises(InputError) as caught:
        backfill(films(tmp_path, strict), history, NOW, NoProgress())
    told = str(caught.value)
    assert "history.csv, mention_text, expectation words: expected at most 50.00%" in told
    assert "found 40 of 40 (100.00%), such as 0: 'text 0'; 1: 'text 1'" in told
    home = tmp_path / "home"
    (page,) = (home / "features" / "quality").glob("*.html")
    assert page.name == "history_csv.html"
    assert str(page) in told
    assert "words: has 3+ words" in page.read_text()
    prom = (home / "features" / "quality" / "latest.prom").read_text()
    assert 'fti_quality_failing_share{expectation="words"} 1.0' in prom
    assert not offline_folder(home).exists()
    assert not (home / "features" / "task.json").exists()


def test_backfill_goes_on_where_the_task_says_so(tmp_path: Path) -> None:
    """With stop_backfill = false what is not as expected is reported, and loaded."""
    history = tmp_path / "history.csv"
    history.write_text(ROWS)
    lenient = "[quality]\nstop_backfill = false\n[quality.words]\nmin = 3"
    assert backfill(films(tmp_path, lenient), history, NOW, NoProgress()).mentions == 40
    assert list((tmp_path / "home" / "features" / "quality").glob("*.html"))


def test_file_is_checked_without_being_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command shows every expectation, fails when one does not hold, and loads nothing."""
    history = tmp_path / "history.csv"
    history.write_text(ROWS)
    films(tmp_path, "[quality.words]\nmin = 2\n[quality.label_share]\nmin = 0.4")
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FTI_TASK", str(tmp_path / "films.toml"))
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["quality", "--input", str(history), "--now", NOW.isoformat()]) == 1
    told = capsys.readouterr().err
    assert "words" in told
    assert "expectation fewest_bad" in told
    films(tmp_path, "[quality.words]\nmin = 2")
    assert main(["quality", "--input", str(history), "--now", NOW.isoformat()]) == 0
    told = capsys.readouterr().err
    assert "0 of 40 rows rejected" in told
    assert "All as expected" in told
    assert not offline_folder(tmp_path / "home").exists()
    assert len(list((tmp_path / "home" / "features" / "quality").glob("*.html"))) == 1


def test_file_of_rejected_rows_is_not_as_expected(tmp_path: Path) -> None:
    """Rows of which none was admitted break no expectation, and yet all is not well."""
    history = tmp_path / "history.csv"
    history.write_text(ROWS.replace("2026-03-01T", "the first of March, "))
    with pytest.raises(InputError, match=r"at most 0\.0% of the rows rejected, found 40 of 40"):
        quality(films(tmp_path, ""), history, NOW)
