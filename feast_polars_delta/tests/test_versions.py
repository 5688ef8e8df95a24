"""Which version of a table is read, and that it can be read again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64

from feast_polars_delta import OfflineStoreError, PolarsDeltaOfflineStore, pinned
from feast_polars_delta.tests.conftest import SUBJECT, at, history
from feast_polars_delta.versions import version_at

WriteDelta = Callable[..., FileSource]

ASKED = {"subject_id": ["a", "b"], "event_timestamp": [at(5), at(5)]}
FIRST = {"subject_id": ["a", "b"], "event_timestamp": [at(0), at(1)], "n": [1, 2]}
SECOND = {"subject_id": ["a", "b"], "event_timestamp": [at(3), at(3)], "n": [8, 9]}


@pytest.fixture
def source(store: FeatureStore, delta: WriteDelta) -> FileSource:
    """The source of a view of an integer feature, with its first rows."""
    source = delta("t", FIRST)
    view = FeatureView(
        name="activity", entities=[SUBJECT], schema=[Field(name="n", dtype=Int64)], source=source
    )
    store.apply([SUBJECT, view])
    return source


def append(source: FileSource) -> None:
    """Write the second rows."""
    pl.DataFrame(SECOND).write_delta(source.path, mode="append")


def pull(store: FeatureStore, source: FileSource) -> tuple[list[int], dict[str, int]]:
    """Return the latest features, and the version that they were read at."""
    job = PolarsDeltaOfflineStore.pull_latest_from_table_or_query(
        config=store.config,
        data_source=source,
        join_key_columns=["subject_id"],
        feature_name_columns=["n"],
        timestamp_field="event_timestamp",
        created_timestamp_column=None,
    )
    return sorted(job.to_polars()["n"].to_list()), job.versions


def commit_times(path: str) -> dict[int, datetime]:
    """Return when each version was committed."""
    commits = DeltaTable(path).history()
    return {
        commit["version"]: datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
        for commit in commits
    }


def test_a_job_reads_the_versions_that_it_tells(store: FeatureStore, source: FileSource) -> None:
    """Rows written after a job was made are not in its answer, however late it runs."""
    job = history(store, ASKED, ["activity:n"])
    append(source)
    assert job.versions == {"activity": 0}
    assert job.to_polars()["n"].to_list() == [1, 2]
    later = history(store, ASKED, ["activity:n"])
    assert later.versions == {"activity": 1}
    assert later.to_polars()["n"].to_list() == [8, 9]


def test_the_versions_of_a_job_bring_its_answer_back(
    store: FeatureStore, source: FileSource
) -> None:
    """For joins and for range reads, while the store that was not pinned reads on."""
    job, pulled = history(store, ASKED, ["activity:n"]), pull(store, source)
    pl.DataFrame(SECOND).write_delta(source.path, mode="overwrite")

    again = history(pinned(store, versions=job.versions), ASKED, ["activity:n"])
    assert again.versions == job.versions
    assert again.to_arrow() == job.to_arrow()
    assert pull(pinned(store, versions=pulled[1]), source) == pulled
    assert pull(store, source) == ([8, 9], {"t": 1})


def test_rows_that_a_commit_removed_are_not_read(store: FeatureStore, source: FileSource) -> None:
    """Their files lie in the folder still; the log tells that they are gone."""
    DeltaTable(source.path).delete("subject_id = 'a'")
    assert history(store, ASKED, ["activity:n"]).to_polars()["n"].to_list() == [None, 2]
    assert pull(store, source)[0] == [2]


def test_pins_can_be_configured(
    open_store: Callable[..., FeatureStore], source: FileSource
) -> None:
    """As in a feature_store.yaml; a view may be pinned by its name or by that of its source."""
    append(source)
    for versions in ({"activity": 0}, {"t": 0}):
        job = history(open_store(versions=versions), ASKED, ["activity:n"])
        assert (job.versions, job.to_polars()["n"].to_list()) == ({"activity": 0}, [1, 2])


def test_a_pin_of_an_unknown_name_is_refused(
    store: FeatureStore, open_store: Callable[..., FeatureStore], source: FileSource
) -> None:
    """It would pin nothing, and the latest version would be read."""
    append(source)
    expected = r"versions: expected names .* found 'activty'\. They are activity, t\."
    with pytest.raises(OfflineStoreError, match=expected):
        pinned(store, versions={"activty": 0})
    with pytest.raises(OfflineStoreError, match=expected):
        history(open_store(versions={"activty": 0}), ASKED, ["activity:n"])


def test_materialization_reads_what_is_pinned(store: FeatureStore, source: FileSource) -> None:
    """Feast names the source there, a job's versions the view: both are pinned."""
    append(source)
    pinned(store, versions={"activity": 0}).materialize(at(-60), at(60))
    store.refresh_registry()
    online = store.get_online_features(["activity:n"], [{"subject_id": "a"}])
    assert online.to_dict()["n"] == [1]


def test_a_pinned_store_finds_its_registry_from_anywhere(
    source: FileSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative registry is seen from the repository, not from where the process runs."""
    (tmp_path / "feature_store.yaml").write_text(
        "project: test\nprovider: local\nregistry: registry.db\n"
        "entity_key_serialization_version: 3\n"
        "offline_store:\n  type: feast_polars_delta.PolarsDeltaOfflineStore\n"
    )
    append(source)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    store = FeatureStore(repo_path=str(tmp_path))
    job = history(pinned(store, versions={"activity": 0}), ASKED, ["activity:n"])
    assert job.to_polars()["n"].to_list() == [1, 2]
    assert not any(elsewhere.iterdir())


def test_tables_are_read_as_of_a_moment(store: FeatureStore, source: FileSource) -> None:
    """The last commit at or before it counts; a named version goes before the moment."""
    append(source)
    committed = commit_times(source.path)
    for as_of, version in (
        (committed[1] - timedelta(milliseconds=1), 0),
        (committed[1], 1),
        (committed[1].replace(tzinfo=None), 1),
        (committed[1] + timedelta(days=1), 1),
    ):
        job = history(pinned(store, as_of=as_of), ASKED, ["activity:n"])
        assert job.versions == {"activity": version}
        assert job.to_polars()["n"].to_list() == ([1, 2], [8, 9])[version]
        assert pull(pinned(store, as_of=as_of), source)[1] == {"t": version}
    both = pinned(store, versions={"activity": 0}, as_of=committed[1])
    assert history(both, ASKED, ["activity:n"]).versions == {"activity": 0}


def test_a_moment_before_the_first_commit_is_refused(
    store: FeatureStore, source: FileSource
) -> None:
    """There was no table yet; its oldest version is not an answer."""
    earlier = commit_times(source.path)[0] - timedelta(milliseconds=1)
    with pytest.raises(OfflineStoreError, match=r"/t/?: expected a commit of .* found the oldest"):
        history(pinned(store, as_of=earlier), ASKED, ["activity:n"])


def test_a_restored_backup_keeps_its_moments(source: FileSource, tmp_path: Path) -> None:
    """The commits tell their times, not the files of the log, whose times a copy changes."""
    append(source)
    committed = commit_times(source.path)
    copy = tmp_path / "restored"
    shutil.copytree(source.path, copy)
    for place, log in enumerate(sorted((copy / "_delta_log").iterdir(), reverse=True)):
        os.utime(log, (place, place))
    for version, moment in committed.items():
        assert version_at(DeltaTable(copy), moment) == version


def test_commits_that_were_cleaned_away_are_not_guessed(source: FileSource) -> None:
    """Behind a checkpoint the log may be cut; a moment before what is left is refused."""
    append(source)
    before = commit_times(source.path)
    pl.DataFrame(SECOND).write_delta(source.path, mode="append")
    DeltaTable(source.path).create_checkpoint()
    for version in (0, 1):
        (Path(source.path) / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(OfflineStoreError, match="expected a commit of"):
        version_at(DeltaTable(source.path), before[1])


def test_parquet_has_no_versions_to_read(store: FeatureStore, tmp_path: Path) -> None:
    """A moment or a version cannot be had from it, and its latest rows are no substitute."""
    pl.DataFrame(FIRST).write_parquet(tmp_path / "p.parquet")
    source = FileSource(
        name="p", path=str(tmp_path / "p.parquet"), timestamp_field="event_timestamp"
    )
    view = FeatureView(
        name="parquet", entities=[SUBJECT], schema=[Field(name="n", dtype=Int64)], source=source
    )
    store.apply([SUBJECT, view])
    for pin in (pinned(store, as_of=at(0)), pinned(store, versions={"p": 3})):
        with pytest.raises(OfflineStoreError, match=r"p\.parquet: expected a Delta table to read"):
            history(pin, ASKED, ["parquet:n"])
