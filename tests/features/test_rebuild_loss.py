"""A rebuild of a home that has lost something: what is left out, refused, or accepted."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from deltalake import DeltaTable

from feature_pipeline.batch.rebuild import Origin
from feature_pipeline.bootstrap.history import rebuild
from feature_pipeline.progress import NoProgress
from shared.errors import StateError
from shared.features import MENTION_LABEL, MENTION_TEXT
from tests.features.pipeline_processes import label
from tests.features.stream_process import until
from tests.features.streamed_home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


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
