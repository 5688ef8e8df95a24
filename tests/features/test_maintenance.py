"""Upkeep of tables and log: smaller, and to every reader the same as before."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from feature_pipeline import cli
from feature_pipeline.batch.stored_events import stored_events
from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.definition.mention_features import mention_label, mention_text
from feature_pipeline.definition.records import (
    KnownLabel,
    KnownMention,
    label_table,
    mention_table,
)
from feature_pipeline.maintenance.delta_upkeep import DeltaUpkeep
from feature_pipeline.maintenance.tables import Upkeep, tend_tables
from feature_pipeline.progress import NoProgress
from feature_pipeline.store.offline_tables import OfflineTables
from inference_pipeline.scoring.mention_tail import DeltaMentionSource, Position
from shared.errors import InputError
from shared.events import Label
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT
from shared.places import Places
from shared.task import Task
from tests.features.conftest import START
from tests.features.test_eventlog import mention
from tests.inference.task_store import land, open_task_store, texts

VIEW = "subject_activity"
KEEP = timedelta(days=30)
TARGET = 1_000_000


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def rows(*seconds: int) -> pl.DataFrame:
    """Return rows of a changelog of three keys."""
    return pl.DataFrame(
        {
            KNOWN_AT: [at(second) for second in seconds],
            "subject_id": [f"film {second % 3}" for second in seconds],
            "mentions": list(seconds),
        },
        schema={KNOWN_AT: MOMENT, "subject_id": pl.String, "mentions": pl.Int64},
    )


@pytest.fixture
def tables(tmp_path: Path) -> OfflineTables:
    """Return tables of which one holds 20 rows in 10 files."""
    made = OfflineTables(str(tmp_path))
    made.create_missing({VIEW: rows()})
    for second in range(0, 20, 2):
        made.append(VIEW, {0: (rows(second, second + 1), at(second + 1))})
    return made


@pytest.fixture
def upkeep(tables: OfflineTables) -> DeltaUpkeep:
    return DeltaUpkeep(tables.path(VIEW))


def stored(tables: OfflineTables, version: int | None = None) -> pl.DataFrame:
    return pl.read_delta(tables.path(VIEW), version=version).sort(KNOWN_AT)


def test_tended_table_still_drops_a_replay(tables: OfflineTables, upkeep: DeltaUpkeep) -> None:
    """Compaction, retention and vacuum keep the marks by which a replay is known."""
    assert upkeep.compact(TARGET) == 10
    assert upkeep.drop_rows(at(5), "subject_id") == 2
    upkeep.keep_versions(timedelta(0))
    assert upkeep.vacuum(timedelta(0)) > 10
    DeltaTable(tables.path(VIEW)).create_checkpoint()
    assert tables.append(VIEW, {0: (rows(1, 18, 19), at(19))}) == 0
    assert tables.append(VIEW, {0: (rows(19, 20), at(20))}) == 1
    assert stored(tables)["mentions"].to_list() == list(range(2, 21))
    assert upkeep.size().files == 2


def test_retention_leaves_later_reads_as_they_were(
    tables: OfflineTables, upkeep: DeltaUpkeep
) -> None:
    """Who reads as of the moment of retention or later finds each key as before it."""

    def as_of(second: int) -> pl.DataFrame:
        known = stored(tables).filter(pl.col(KNOWN_AT) <= at(second))
        return known.group_by("subject_id").last().sort("subject_id")

    tables.append(VIEW, {0: (rows(31, 32), at(32))})  # one key has no row since the 18th second
    before = [as_of(second) for second in range(25, 40)]
    assert upkeep.drop_rows(at(25), "subject_id") == 17
    assert upkeep.drop_rows(at(25), "subject_id") == 0
    assert all(
        now.equals(then) for now, then in zip(map(as_of, range(25, 40)), before, strict=True)
    )
    assert stored(tables)["mentions"].to_list() == [17, 18, 19, 31, 32]


def test_rows_that_are_no_changelog_go_whole(tables: OfflineTables, upkeep: DeltaUpkeep) -> None:
    """Without a key nothing has to stay; rows from the moment on do."""
    assert upkeep.drop_rows(at(15)) == 15
    assert stored(tables)["mentions"].to_list() == [15, 16, 17, 18, 19]


def test_version_that_training_recorded_stays_for_the_stated_time(
    tables: OfflineTables, upkeep: DeltaUpkeep
) -> None:
    """A recorded version is read as it was until its time is over, however old its files are."""
    recorded = DeltaTable(tables.path(VIEW)).version()
    as_recorded = stored(tables, recorded)
    _age_files(tables.path(VIEW), timedelta(days=90))
    upkeep.drop_rows(at(10), "subject_id")
    upkeep.compact(TARGET)
    DeltaTable(tables.path(VIEW)).create_checkpoint()
    assert upkeep.vacuum(KEEP) == 0
    assert stored(tables, recorded).equals(as_recorded)
    latest = stored(tables)
    upkeep.keep_versions(timedelta(0))
    assert upkeep.vacuum(timedelta(0)) > 0
    assert stored(tables).equals(latest)
    with pytest.raises(DeltaError):
        stored(tables, recorded)


def test_table_made_without_the_properties_gets_them(tmp_path: Path) -> None:
    """A table of an earlier day is told how long to remember, once."""
    path = str(tmp_path / VIEW)
    rows(1).write_delta(path)
    for _ in range(2):
        DeltaUpkeep(path).keep_versions(KEEP)
    found = DeltaTable(path)
    assert found.version() == 1
    assert found.metadata().configuration["delta.deletedFileRetentionDuration"] == (
        "interval 720 hours"
    )


def test_replacing_history_keeps_the_properties(tables: OfflineTables) -> None:
    """A backfill replaces rows and schema, and the table remembers old versions as before."""
    before = DeltaTable(tables.path(VIEW)).metadata().configuration
    assert before["delta.logRetentionDuration"] == "interval 720 hours"
    tables.replace(VIEW, rows(1, 2).with_columns(more=1), at(2), partitions=1)
    assert DeltaTable(tables.path(VIEW)).metadata().configuration == before


def test_files_of_a_killed_writer_go_when_they_are_old(
    tables: OfflineTables, upkeep: DeltaUpkeep
) -> None:
    """What was written but never committed is deleted after the stated time, not before."""
    orphan = Path(tables.path(VIEW)) / "part-orphan.parquet"
    rows(1).write_parquet(orphan)
    assert upkeep.vacuum(KEEP) == 0
    _age_files(tables.path(VIEW), timedelta(days=31))
    assert upkeep.vacuum(KEEP) == 1
    assert not orphan.exists()
    assert stored(tables).height == 20


def test_stream_scoring_reads_on_through_upkeep(tmp_path: Path) -> None:
    """Scoring that follows `mention_text` gets each mention once, whatever upkeep does between."""
    home = tmp_path / "home"
    source = DeltaMentionSource(open_task_store(home))
    begin = source.end()
    upkeep = DeltaUpkeep(OfflineTables(Places.embedded(home).offline_store).path(MENTION_TEXT))
    for number in range(0, 6, 2):
        land(home, texts([number]))
        keep = KEEP + timedelta(hours=number)
        upkeep.keep_versions(keep)
        upkeep.compact(TARGET)
        land(home, texts([number + 1]))
        upkeep.drop_rows(datetime(2026, 3, 2, tzinfo=START.tzinfo))
        upkeep.vacuum(keep)
    found: list[str] = []
    position, after = Position(-1), begin
    while after != position:
        position = after
        mentions, after = source.read(position, limit=2)
        found += [mention.mention_id for mention in mentions]
    assert found == [f"m{number}" for number in range(6)]


def test_upkeep_beside_a_writer_loses_and_doubles_nothing(
    tables: OfflineTables, upkeep: DeltaUpkeep
) -> None:
    """While another process appends, tending the table over and over changes no row of it."""
    writer = textwrap.dedent(f"""
        from tests.features.test_maintenance import OfflineTables, VIEW, at, rows
        tables = OfflineTables({str(Path(tables.path(VIEW)).parent)!r})
        for second in range(20, 120):
            assert tables.append(VIEW, {{0: (rows(second), at(second))}}) == 1
    """)
    with subprocess.Popen([sys.executable, "-c", writer]) as process:
        moment = 3
        while process.poll() is None:
            moment = min(moment + 1, 15)
            keep = KEEP + timedelta(hours=moment)
            upkeep.keep_versions(keep)
            upkeep.compact(TARGET)
            upkeep.drop_rows(at(moment), "subject_id")
            upkeep.vacuum(keep)
    assert process.returncode == 0
    assert moment > 4
    assert stored(tables)["mentions"].to_list() == list(range(moment - 3, 120))


def test_retention_shorter_than_the_windows_is_refused(task: Task, tables: OfflineTables) -> None:
    """Rows that a window still counts cannot be dropped."""
    wanted = Upkeep(
        compact=False, vacuum=False, retain=timedelta(minutes=19), keep_versions=KEEP, dry_run=False
    )
    with pytest.raises(InputError, match="at least 0:22:00, twice the longest window"):
        tend_tables(task, tables, wanted, START, NoProgress())


def test_retention_keeps_texts_of_which_a_label_stays(task: Task, tmp_path: Path) -> None:
    """A rebuild after it counts every label that is left, so that corrections find it counted."""
    tables = OfflineTables(str(tmp_path))
    mentions = [KnownMention(mention(number), at(number)) for number in range(3)]
    labels = [
        KnownLabel(
            Label(mention_id=f"m{number}", label="good", labelled_at=moment), moment, "heat", "heat"
        )
        for number, moment in ((0, at(4)), (1, at(4_000)))
    ]
    rows_of = {
        MENTION_TEXT: mention_text(mention_table(mentions)),
        MENTION_LABEL: mention_label(label_table(labels)),
    }
    tables.create_missing(rows_of)
    for view, found in rows_of.items():
        tables.append(view, {0: (found, at(4_000))})
    wanted = Upkeep(
        compact=False, vacuum=False, retain=timedelta(hours=1), keep_versions=KEEP, dry_run=False
    )
    reports = tend_tables(task, tables, wanted, at(4_500), NoProgress())
    assert {report.view: report.dropped_rows for report in reports} == {
        MENTION_TEXT: 2,
        MENTION_LABEL: 1,
    }
    events = stored_events(tables, at(5_000))
    assert events.mentions["mention_id"].to_list() == ["m1"]
    assert events.labels.select("mention_id", "subject_id").rows() == [("m1", "heat")]


def test_command_shows_what_it_would_do_and_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run counts and changes nothing; the real run does what it counted."""
    task = tmp_path / "task.toml"
    task.write_text(
        'name = "films"\nlabels = ["bad", "good"]\n[input]\nformat = "csv"\n'
        'columns = { text = "text", published_at = "date" }\n'
        '[activity.windows]\n"60s" = "10s"\n[training]\nbase = "none"\n'
    )
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FTI_TASK", str(task))
    monkeypatch.setenv("COLUMNS", "200")
    tables = OfflineTables(Places.embedded(tmp_path / "home").offline_store)
    tables.create_missing({VIEW: rows()})
    for second in range(3):
        tables.append(VIEW, {0: (rows(second), at(second))})
    version = DeltaTable(tables.path(VIEW)).version()
    assert cli.main(["maintain", "--dry-run", "--trim-log", "7d", "--compact"]) == 0
    shown = capsys.readouterr().err
    assert "nothing changed" in shown
    assert "log entries would be forgotten: 0" in shown
    assert DeltaTable(tables.path(VIEW)).version() == version
    assert cli.main(["maintain", "--retain", "1d", "--compact"]) == 0
    assert "3 → 1" in capsys.readouterr().err
    assert cli.main(["maintain", "--retain", "1s"]) == 1
    assert "twice the longest window" in capsys.readouterr().err


def _age_files(path: str, age: timedelta) -> None:
    """Make the data files of a table look as if they had been written long ago."""
    import os
    import time

    moment = time.time() - age.total_seconds()
    for file in Path(path).glob("*.parquet"):
        os.utime(file, (moment, moment))
