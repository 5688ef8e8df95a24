"""Features that were lost or damaged are made anew, and the stream goes on from there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from feature_pipeline.batch.rebuild import Origin
from feature_pipeline.batch.stored_events import with_corrections
from feature_pipeline.bootstrap.history import rebuild
from feature_pipeline.bootstrap.stream import stream
from feature_pipeline.definition.records import LABEL_SCHEMA
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.progress import NoProgress
from feature_pipeline.store import handover as handover_module
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT
from shared.file_lock import hold_file
from tests.features.streamed_home import Home


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
