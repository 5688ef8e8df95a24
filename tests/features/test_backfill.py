"""The backfill, into a real Feast store: interrupted, repeated, refused."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from feature_pipeline import cli
from feature_pipeline.batch.rebuild import Origin
from feature_pipeline.bootstrap.gateway import serve
from feature_pipeline.bootstrap.history import backfill, rebuild
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.stream import stream
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from feature_pipeline.progress import NoProgress
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from shared.errors import InputError, StateError
from shared.events import Mention
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, MENTION_LABEL
from shared.file_lock import hold_file
from shared.places import Places, offline_folder

NOW = datetime(2026, 3, 1, 10, 1, tzinfo=UTC)
TASK = """
name = "NAME"
labels = ["bad", "good"]
[input]
format = "csv"
label_delay = "5s"
[input.columns]
text = "text"
mention_id = "id"
subject_id = "film"
source_id = "critic"
published_at = "date"
label = "rating"
[activity.windows]
"60s" = "10s"
[training]
base = "none"
"""
ROWS = "id,text,film,critic,date,rating\n" + "".join(
    f"{n},text {n},film {n % 3},critic {n % 2},2026-03-01T10:00:{n:02},{rating}\n"
    for n in range(40)
    for rating in ("good" if n % 4 else "bad",)
)


def pipeline(folder: Path, task: str = "films") -> FeaturePipeline:
    task_file = folder / f"{task}.toml"
    task_file.write_text(TASK.replace("NAME", task))
    return FeaturePipeline(FeatureSettings(home=folder / "home", task=task_file))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_text(ROWS)
    return path


def stored(home: Path) -> dict[str, object]:
    """Return everything that a backfill leaves, in a form that can be compared."""
    tables = {
        path.name: pl.read_delta(str(path)).sort(pl.all()).to_dicts()
        for path in sorted(offline_folder(home).iterdir())
    }
    store = open_feature_store(Places.embedded(home))
    online = store.get_online_features(
        features=["subject_activity:mentions_60s", "subject_activity:good_60s"],
        entity_rows=[{"subject_id": f"film {n}"} for n in range(3)],
    ).to_dict(include_event_timestamps=True)
    states = {path.name: path.read_bytes() for path in (home / "features").glob("*.arrow")}
    with closing(SqliteEventLog(home / "features" / "log.db")) as log:
        receipt = log.append([_mention("7")])[0].status
    return {"tables": tables, "online": online, "states": sorted(states), "receipt": receipt}


def _mention(mention_id: str) -> Mention:
    return Mention(
        mention_id=mention_id, subject_id="film 1", source_id="a", text="x", published_at=NOW
    )


def test_backfill_fills_both_sides_of_the_store(tmp_path: Path, history: Path) -> None:
    """Each mention stands offline once; online counts what the window still holds."""
    report = backfill(pipeline(tmp_path), history, NOW, NoProgress())
    assert (report.mentions, report.labels, report.rejected) == (40, 40, 0)
    found = stored(tmp_path / "home")
    text = pl.read_delta(str(offline_folder(tmp_path / "home") / "mention_text"))
    assert sorted(text["mention_id"].to_list(), key=int) == [str(n) for n in range(40)]
    online = found["online"]
    assert isinstance(online, dict)
    assert sum(online["mentions_60s"]) == 40
    assert found["receipt"] == "duplicate"


WRITES = [
    (SqliteEventLog, "begin_after", 1),
    (OfflineTables, "replace", 1),
    (OfflineTables, "replace", 4),
    (OnlineViews, "write", 1),
    (OnlineViews, "write", 2),
    (Handover, "save", 1),
    (OfflineTables, "replace", 5),
]
"""The writes of a backfill, in order: where it may be interrupted."""


@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write[1]}-{write[2]}")
def test_interrupted_backfill_is_run_again(
    tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch, write: tuple[type, str, int]
) -> None:
    """Interrupted at any write and run again, it leaves what an undisturbed one leaves."""
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    backfill(pipeline(undisturbed), history, NOW, NoProgress())
    place, name, fails_at = write
    calls = 0
    original = getattr(place, name)

    def interrupted(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            backfill(pipeline(tmp_path), history, NOW, NoProgress())
    labels = offline_folder(tmp_path / "home") / MENTION_LABEL
    assert not labels.exists() or pl.read_delta(str(labels)).is_empty()
    for service in (serve, stream, partial(rebuild, origin=Origin.OFFLINE, progress=NoProgress())):
        with pytest.raises(StateError, match="found one that was interrupted"):
            service(pipeline(tmp_path))
    backfill(pipeline(tmp_path), history, NOW, NoProgress())
    assert stored(tmp_path / "home") == stored(undisturbed / "home")


def test_second_backfill_takes_the_place_of_the_first(tmp_path: Path, history: Path) -> None:
    """Keys that do not come again are gone from both sides, not left with old values."""
    made = pipeline(tmp_path)
    backfill(made, history, NOW, NoProgress())
    history.write_text(ROWS.replace("film 2", "film 9"))
    backfill(made, history, NOW, NoProgress())
    store = open_feature_store(Places.embedded(tmp_path / "home"))
    online = store.get_online_features(
        features=["subject_activity:mentions_60s"],
        entity_rows=[{"subject_id": "film 2"}, {"subject_id": "film 9"}],
    ).to_dict()
    assert online["mentions_60s"] == [None, 13]
    table = pl.read_delta(str(offline_folder(tmp_path / "home") / "subject_activity"))
    assert set(table["subject_id"]) == {"film 0", "film 1", "film 9"}


def test_too_many_rejected_rows_stop_it_before_it_writes(tmp_path: Path) -> None:
    """More rejected rows than the task allows: nothing is written, and the first reason is told."""
    path = tmp_path / "history.csv"
    path.write_text(ROWS + "x,y\n" * 3)
    with pytest.raises(InputError, match="3 of 43; the first: history"):
        backfill(pipeline(tmp_path), path, NOW, NoProgress())
    assert not offline_folder(tmp_path / "home").exists()
    assert not (tmp_path / "home" / "features" / "task.json").exists()
    with closing(pipeline(tmp_path).open_dead_letters()) as letters:
        assert letters.count() == 3


def test_moment_in_the_future_is_refused(
    tmp_path: Path,
    history: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All later events would be known then, for ever; so nothing is written."""
    made = pipeline(tmp_path)
    monkeypatch.setenv("FTI_HOME", str(made.settings.home))
    monkeypatch.setenv("FTI_TASK", str(made.settings.task))
    monkeypatch.setenv("COLUMNS", "400")
    asked = ["backfill", "--input", str(history), "--now", "2999-01-01T00:00:00Z"]
    assert cli.main(asked) == 1
    assert "--now: expected a moment that has been" in capsys.readouterr().err
    assert not offline_folder(made.settings.home).exists()


def test_nothing_to_load_is_told(tmp_path: Path, history: Path) -> None:
    """A file without rows, or with no more than are to be held back, is an error, not a success."""
    with pytest.raises(InputError, match="more mentions than the 40"):
        backfill(pipeline(tmp_path), history, NOW, NoProgress(), hold_back=40)
    history.write_text("id,text,film,critic,date,rating\n")
    with pytest.raises(InputError, match="more mentions than the 0"):
        backfill(pipeline(tmp_path), history, NOW, NoProgress())


def test_history_after_events_is_refused(tmp_path: Path, history: Path) -> None:
    """Once events were streamed a backfill is refused: it would count them away."""
    made = pipeline(tmp_path)
    backfill(made, history, NOW, NoProgress())
    with closing(made.open_log()) as log:
        log.append([_mention("new")])
    with pytest.raises(StateError, match="history is loaded before the first event"):
        backfill(made, history, NOW, NoProgress())


def test_history_after_events_that_were_trimmed_is_refused(tmp_path: Path, history: Path) -> None:
    """An empty log may have been streamed and trimmed: what it counted is not counted away."""
    made = pipeline(tmp_path)
    backfill(made, history, NOW, NoProgress())
    with closing(made.open_log()) as log:
        log.append([_mention("new")])
        for partition in range(log.partitions):
            last = log.read(partition, 0, 10).position
            log.acknowledge(partition, last)
            log.trim(partition, before=last + 1)
    before = sorted(offline_folder(tmp_path / "home").rglob("*.json"))
    with pytest.raises(StateError, match="history is loaded before the first event"):
        backfill(made, history, NOW, NoProgress())
    assert sorted(offline_folder(tmp_path / "home").rglob("*.json")) == before


def test_home_belongs_to_one_task(tmp_path: Path, history: Path) -> None:
    """Another task in the same home is refused, and the first task's tables stay."""
    backfill(pipeline(tmp_path), history, NOW, NoProgress())
    with pytest.raises(StateError, match="Each task has its own FTI_HOME"):
        backfill(pipeline(tmp_path, task="books"), history, NOW, NoProgress())
    table = pl.read_delta(str(offline_folder(tmp_path / "home") / "mention_text"))
    assert table.height == 40


def test_backfill_voids_what_a_stream_had_saved(tmp_path: Path, history: Path) -> None:
    """A stream that ran before, on an idle log, must not go on from states without the history."""
    made = pipeline(tmp_path)
    saved = tmp_path / "home" / "features" / "recovery"
    saved.mkdir(parents=True)
    (saved / "part-0.sqlite3").touch()
    backfill(made, history, NOW, NoProgress())
    assert not saved.exists()


def test_backfill_excludes_worker_and_gateway(tmp_path: Path, history: Path) -> None:
    """While a worker or a gateway runs a backfill is refused, and so is a second of either."""
    made = pipeline(tmp_path)
    folder = tmp_path / "home" / "features"
    for lock, also in (("writer.lock", stream), ("gateway.lock", serve)):
        with hold_file(folder / lock, place="another", remedy=""):
            with pytest.raises(StateError, match="stop it first"):
                backfill(made, history, NOW, NoProgress())
            with pytest.raises(StateError, match="stop it first"):
                also(made)


def test_windows_are_fixed_once_events_were_streamed(tmp_path: Path, history: Path) -> None:
    """Before the first event a backfill may change windows; after it, nothing may."""
    backfill(pipeline(tmp_path), history, NOW, NoProgress())
    task_file = tmp_path / "films.toml"
    other = FeaturePipeline(FeatureSettings(home=tmp_path / "home", task=task_file))
    task_file.write_text(task_file.read_text().replace("10s", "20s"))
    with pytest.raises(StateError, match="Windows are fixed"):
        serve(FeaturePipeline(FeatureSettings(home=tmp_path / "home", task=task_file)))
    changed = FeaturePipeline(FeatureSettings(home=tmp_path / "home", task=task_file))
    backfill(changed, history, NOW, NoProgress())
    with closing(changed.open_log()) as log:
        log.append([_mention("new")])
    with pytest.raises(StateError, match="Windows are fixed"):
        stream(other)


def test_damaged_log_is_told(tmp_path: Path) -> None:
    """A log file that is no database is an error with its path, not a traceback."""
    path = tmp_path / "home" / "features" / "log.db"
    path.parent.mkdir(parents=True)
    path.write_text("no database " * 100)
    with pytest.raises(StateError, match=r"log\.db: expected a sound SQLite database"):
        pipeline(tmp_path).open_log()


def test_null_feature_is_not_written_online(tmp_path: Path, history: Path) -> None:
    """Feast would keep the old value of a null without a word; our writer refuses it."""
    made = pipeline(tmp_path)
    backfill(made, history, NOW, NoProgress())
    _, online = made.open_store()
    row = pl.read_delta(str(offline_folder(tmp_path / "home") / "subject_activity")).head(1)
    empty = row.with_columns(mentions_60s=pl.lit(None, pl.Int64), **{KNOWN_AT: pl.lit(NOW)})
    with pytest.raises(ValueError, match="a null"):
        online.write("subject_activity", "subject_id", empty)
