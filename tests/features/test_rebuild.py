"""Features that were lost or damaged are made anew, and the stream goes on from there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from feature_pipeline.batch.history import read_history
from feature_pipeline.batch.rebuild import Origin
from feature_pipeline.batch.stored_events import with_corrections
from feature_pipeline.bootstrap.history import backfill, rebuild
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.stream import stream
from feature_pipeline.definition.records import LABEL_SCHEMA
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.progress import NoProgress
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store import handover as handover_module
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT, ROLES, activity_view
from shared.file_lock import hold_file
from shared.places import offline_folder
from tests.features.pipeline_processes import PipelineProcesses, label
from tests.features.stream_process import until

HISTORY = "id,text,film,critic,date,rating\n" + "".join(
    f"h{n},TEXT {n} &amp; more,film {n % 5},critic {n % 4},2026-03-01T10:00:{n:02},{rating}\n"
    for n in range(40)
    for rating in ("good" if n % 4 else "bad",)
)
NOW = datetime(2026, 3, 1, 10, 1, tzinfo=UTC)


class Home:
    """A home that has seen history and a stream, with events that the stream has not seen."""

    def __init__(self, folder: Path) -> None:
        self.processes = PipelineProcesses(folder / "home")
        self.pipeline = FeaturePipeline(
            FeatureSettings(home=self.processes.home, task=self.processes.task_file)
        )
        history = folder / "history.csv"
        history.write_text(HISTORY)
        backfill(self.pipeline, history, NOW, NoProgress())
        self.processes.history = read_history(history, self.processes.task, NOW).events
        self.stream_on(0, 40)
        self.processes.append(40, 60)

    def stream_on(self, first: int, last: int) -> None:
        """Append events, stream until all of them are saved, and check the stores.

        No gateway lets time pass, so the last event is where time stands.
        """
        self.processes.append(first, last)
        with self.processes.running("stream") as worker, closing(self.pipeline.open_log()) as log:
            until(lambda: log.backlog() == 0, "the stream to catch up")
        assert worker.exitcode == 0, self.processes.printed()
        self.processes.assert_complete(self.processes.expected(max(self.processes.events)))

    def let_windows_forget(self) -> None:
        """Let time pass until the short window is empty, and check the stores."""
        with self.processes.running("stream"):
            until(self.processes.settles, "decay")
        self.processes.assert_complete()

    def destroy(self) -> None:
        """Take away activity and the stream's state; online, leave wrong values of late date."""
        for view in ("subject_activity", "source_activity"):
            shutil.rmtree(self.table(view))
        with closing(sqlite3.connect(self.processes.home / "feast" / "online.db")) as online:
            for role in ROLES:
                online.execute(
                    f"UPDATE fti_{activity_view(role)} SET event_ts = '2100-01-01 00:00:00',"  # noqa: S608 - a fixed name
                    " value = (SELECT value FROM fti_subject_activity LIMIT 1)"
                )
            online.commit()
        shutil.rmtree(self.processes.home / "features" / "recovery")

    def table(self, view: str) -> Path:
        return offline_folder(self.processes.home) / view

    def trim_log(self) -> None:
        """Forget every entry that the stream has done with."""
        with closing(self.pipeline.open_log()) as log:
            for partition in range(log.partitions):
                assert len(log.acknowledged(partition)) > 0
                log.trim(partition, log.acknowledged(partition).stop)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_rebuilds_from_the_offline_tables_what_a_trimmed_log_has_forgotten(home: Home) -> None:
    """From texts, labels and the rest of the log all comes back; then the stream goes on."""
    home.trim_log()
    home.destroy()
    report = rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    assert (report.mentions, report.restored[MENTION_TEXT]) == (100, 20)
    home.processes.assert_complete(home.processes.expected(report.watermark))
    home.stream_on(60, 80)
    home.let_windows_forget()


def test_rebuilds_from_the_log_what_the_offline_tables_have_wrong(home: Home) -> None:
    """The log mends mentions and labels, too; and it may be trimmed up to there afterwards."""
    home.destroy()
    DeltaTable(home.table(MENTION_TEXT)).delete("mention_id = 'm7'")
    DeltaTable(home.table(MENTION_LABEL)).update(
        {"label": "'good'"}, predicate="label = 'bad' AND mention_id LIKE 'm%'"
    )
    report = rebuild(home.pipeline, Origin.LOG, NoProgress())
    assert report.restored[MENTION_TEXT] == 20 + 1
    home.processes.assert_complete(home.processes.expected(report.watermark))
    home.stream_on(60, 80)
    home.trim_log()
    with pytest.raises(StateError, match="from the offline tables"):
        rebuild(home.pipeline, Origin.LOG, NoProgress())
    rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    again = rebuild(home.pipeline, Origin.LOG, NoProgress())
    assert again.restored == {MENTION_TEXT: 0, MENTION_LABEL: 0}
    home.stream_on(80, 100)


def test_a_rebuild_that_cannot_be_right_changes_nothing(home: Home) -> None:
    """Refused: history that differs from what was counted, and a stream that runs."""
    table = DeltaTable(home.table(MENTION_TEXT))
    whole = table.version()
    table.delete("mention_id = 'h7'")
    with pytest.raises(StateError, match="that the last backfill or rebuild counted"):
        rebuild(home.pipeline, Origin.LOG, NoProgress())
    table.restore(whole)
    with (
        hold_file(home.processes.home / "features" / "writer.lock", place="", remedy=""),
        pytest.raises(StateError, match="stop it first"),
    ):
        rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    home.stream_on(60, 80)


def test_late_label_of_a_mention_that_retention_dropped_is_left_out(home: Home) -> None:
    """It is told of and not counted, from both origins, and the stream goes on after it."""
    for view in (MENTION_TEXT, MENTION_LABEL):
        DeltaTable(home.table(view)).delete("mention_id LIKE 'h%'")
    for value in ("bad", "good"):
        with closing(home.pipeline.open_log()) as log:
            log.append([label(7, value).model_copy(update={"mention_id": "h7"})])
        report = rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
        assert report.mentions == 60
        assert report.left_out == (1 if value == "bad" else 2)
        with home.processes.running("stream"), closing(home.pipeline.open_log()) as log:
            until(lambda: log.backlog() == 0, "the stream to catch up")
    assert rebuild(home.pipeline, Origin.LOG, NoProgress()).left_out == 2


def test_nothing_is_emptied_for_events_that_tell_of_nobody(home: Home) -> None:
    """A mention without a subject is refused before anything is changed."""
    table = DeltaTable(home.table(MENTION_TEXT))
    whole = table.version()
    table.update({"subject_id": "NULL"}, predicate="mention_id = 'm7'")
    with pytest.raises(StateError, match="subject_id: expected a value in every row"):
        rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    table.restore(whole)
    home.stream_on(60, 60)


@pytest.mark.parametrize("part", ["", "_delta_log"])
def test_rebuild_without_a_table_that_was_taken_away_is_refused(home: Home, part: str) -> None:
    """It is named, and nothing is changed until the loss is accepted; again and again."""
    before = home.processes.written("subject_activity")
    for view in (MENTION_LABEL, MENTION_TEXT):
        shutil.rmtree(home.table(view) / part)
        for _ in range(2):
            with pytest.raises(StateError, match=rf"^{view}: .* --accept-loss"):
                rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    assert home.processes.written("subject_activity").equals(before)
    report = rebuild(home.pipeline, Origin.OFFLINE, NoProgress(), accept_loss=True)
    assert report.mentions == 60


def test_rebuild_that_would_count_less_than_the_last_one_is_refused(home: Home) -> None:
    """Rows that are gone from a table, and from the log, are missed while windows count them."""
    rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    home.stream_on(60, 60)
    home.trim_log()
    for view in (MENTION_TEXT, MENTION_LABEL):
        table = DeltaTable(home.table(view))
        whole = table.version()
        table.delete("mention_id = 'm4'")
        with pytest.raises(StateError, match=f"^{view}: .* less, of 1 subjects"):
            rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
        table.restore(whole)
    rebuild(home.pipeline, Origin.OFFLINE, NoProgress())


@pytest.mark.parametrize("file", ["subject_state.arrow", "handover_positions.json"])
def test_damaged_handover_is_made_anew_when_the_loss_is_accepted(home: Home, file: str) -> None:
    """The stream has the remedy to tell, and it works: everything is as it was."""
    shutil.rmtree(home.processes.home / "features" / "recovery")
    (home.processes.home / "features" / file).write_bytes(b"garbage")
    worker = home.processes.start("stream")
    worker.join(60)
    assert worker.exitcode == 1
    assert f"{file}: expected" in " ".join(home.processes.printed().replace("\n", "").split())
    assert "Traceback" not in home.processes.printed()
    with pytest.raises(StateError, match="rebuild --accept-loss"):
        rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    report = rebuild(home.pipeline, Origin.OFFLINE, NoProgress(), accept_loss=True)
    home.processes.assert_complete(home.processes.expected(report.watermark))
    home.stream_on(60, 80)


def test_stream_refuses_after_an_interrupted_rebuild(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the rebuild was run again the stream does not start; then nothing is missing."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for place, method in ((OfflineTables, "replace"), (OnlineViews, "write"), (Handover, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(place, method, interrupted)
            with pytest.raises(KeyboardInterrupt):
                rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
        with pytest.raises(StateError, match="found one that was interrupted"):
            stream(home.pipeline)
    rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    home.stream_on(60, 80)


def test_rebuild_interrupted_between_two_states_is_run_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States of two moments are those of a rebuild that did not end, and are made anew."""
    write = handover_module._write

    def interrupted(path: Path, content: bytes) -> None:
        if path.name == "source_state.arrow":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(handover_module, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    rebuild(home.pipeline, Origin.OFFLINE, NoProgress())
    home.stream_on(60, 80)


def test_labels_are_told_which_label_they_correct() -> None:
    """Of each mention, a label corrects the one before it, with the moment of that one."""
    moments = [datetime(2026, 3, 1, 12, minute, tzinfo=UTC) for minute in range(3)]
    told = pl.DataFrame(
        {
            KNOWN_AT: [moments[2], moments[0], moments[1]],
            "mention_id": ["a", "a", "b"],
            "label": ["good", "bad", "bad"],
        }
    ).match_to_schema(LABEL_SCHEMA, missing_columns="insert", extra_columns="ignore")
    found = with_corrections(told)
    assert found.select("mention_id", "previous_label", "previous_known_at").rows() == [
        ("a", None, None),
        ("b", None, None),
        ("a", "bad", moments[0]),
    ]
    assert EventTables.of([], []).labels.schema == found.schema
