from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from shared.errors import StateError
from shared.feature_store import FeatureRegistryError, open_feature_store
from shared.features import KNOWN_AT
from shared.places import Places
from shared.task import Task
from tests.training.conftest import MENTIONS
from tests.training.sample import (
    add_mentions,
    fill_feature_store,
    sample_mentions,
    sample_task,
)
from training_pipeline.dataset import FeastDataset
from training_pipeline.pinned_dataset import PinnedDataset

if TYPE_CHECKING:
    from feast import FeatureStore


@pytest.fixture
def task() -> Task:
    """The task of the sample; its base is not looked at here."""
    return sample_task("x")


def test_features_are_those_just_before_the_mention(filled_store: FeatureStore, task: Task) -> None:
    """Each row counts the mentions before it and not itself; the first of a key knows nothing."""
    rows = FeastDataset(filled_store).read(task).rows
    mentions, labels = sample_mentions(MENTIONS)
    before = mentions.select(pl.int_range(pl.len()).over("subject_id"))["literal"].to_list()
    got = [None if np.isnan(x) else int(x) for x in rows.features[:, 0]]
    assert got == [count or None for count in before]
    assert np.isnan(rows.features[:, 1]).all()
    assert rows.texts.tolist() == mentions["text"].to_list()
    assert [task.labels[i] for i in rows.labels] == labels["label"].to_list()
    assert np.all(np.diff(rows.known_at) > np.timedelta64(0))


def test_a_dataset_is_the_same_twice(filled_store: FeatureStore, task: Task) -> None:
    """Reading again gives the same identity, which names the versions of all tables read."""
    first, again = FeastDataset(filled_store).read(task), FeastDataset(filled_store).read(task)
    assert first.sha256 == again.sha256
    views = ["mention_label", "mention_text", "source_activity", "subject_activity"]
    assert sorted(first.versions) == views


def test_a_later_label_corrects_an_earlier_one(tmp_path: Path, task: Task) -> None:
    """The label known last wins, the mention stays one row, and the identity changes."""
    mentions, labels = sample_mentions(20)
    store = fill_feature_store(tmp_path, mentions, labels)
    before = FeastDataset(store).read(task)
    correction = labels.head(1).with_columns(
        pl.col(KNOWN_AT) + timedelta(days=1), label=pl.lit("positive")
    )
    correction.write_delta(tmp_path / "offline" / "mention_label", mode="append")
    after = FeastDataset(store).read(task)
    assert task.labels[before.rows.labels[0]] == "negative"
    assert task.labels[after.rows.labels[0]] == "positive"
    assert len(after.rows) == len(before.rows) == 20
    assert after.sha256 != before.sha256


def test_a_dataset_can_be_read_at_the_versions_that_it_names(tmp_path: Path, task: Task) -> None:
    """Whatever was written since: corrections, new mentions, new activity."""
    mentions, labels = sample_mentions(40)
    store = fill_feature_store(tmp_path, mentions.head(20), labels.head(20))
    before = FeastDataset(store).read(task)
    for view, rows in (("mention_text", mentions), ("mention_label", labels)):
        table = tmp_path / "offline" / view
        rows.tail(20).select(pl.read_delta(table).columns).write_delta(table, mode="append")
    assert len(FeastDataset(store).read(task).rows) == 40
    again = FeastDataset(
        open_feature_store(Places.embedded(tmp_path), versions=before.versions)
    ).read(task)
    assert (again.versions, again.sha256) == (before.versions, before.sha256)


def test_a_pinned_dataset_stays_the_same(tmp_path: Path, task: Task) -> None:
    """What comes after the first read changes nothing; a note that is damaged is told."""
    fill_feature_store(tmp_path, *sample_mentions(20))
    noted = tmp_path / "runs" / "one" / "versions.json"

    def source(versions: Mapping[str, int] | None) -> FeastDataset:
        return FeastDataset(open_feature_store(Places.embedded(tmp_path), versions=versions))

    before = PinnedDataset(noted, source).read(task)
    add_mentions(tmp_path, *(rows.tail(20) for rows in sample_mentions(40)))
    assert len(source(None).read(task).rows) == 40
    assert PinnedDataset(noted, source).read(task).sha256 == before.sha256
    noted.write_text("[]")
    with pytest.raises(StateError, match=r"versions\.json: .* Remove the file"):
        PinnedDataset(noted, source).read(task)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ConnectionError("no route"), True),
        (FileNotFoundError("vacuumed"), False),
        (ValueError("damaged"), False),
    ],
)
def test_a_store_that_is_away_may_come_back(
    filled_store: FeatureStore,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    passing: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An object store that does not answer is told from a table that is gone or damaged."""

    def pull(*_: object, **__: object) -> None:
        raise RuntimeError("the plug-in's own") from error

    store = type(filled_store.provider.offline_store)
    monkeypatch.setattr(store, "pull_latest_from_table_or_query", pull)
    with pytest.raises(StateError, match="rows that can be read") as told:
        FeastDataset(filled_store).read(task)
    assert told.value.passing is passing


@pytest.mark.parametrize(
    ("labels_become", "message"),
    [
        (pl.lit("angry"), "found 'angry' on 20 of 20 rows"),
        (pl.lit("negative"), "found none labelled positive"),
    ],
)
def test_labels_must_be_those_of_the_task(
    tmp_path: Path, task: Task, labels_become: pl.Expr, message: str
) -> None:
    """A label that the task does not know, or one that never occurs, is named."""
    mentions, labels = sample_mentions(20)
    store = fill_feature_store(tmp_path, mentions, labels.with_columns(label=labels_become))
    with pytest.raises(StateError) as raised:
        FeastDataset(store).read(task)
    assert message in str(raised.value)


def test_nothing_labelled_is_said(tmp_path: Path, task: Task) -> None:
    """Labels of other mentions than those there are give no dataset."""
    mentions, labels = sample_mentions(4)
    strangers = labels.with_columns(mention_id=pl.lit("other"))
    store = fill_feature_store(tmp_path, mentions, strangers)
    with pytest.raises(StateError, match="4 mentions and 1 labels, none of which meet"):
        FeastDataset(store).read(task)


def test_an_empty_store_names_the_next_step(tmp_path: Path, task: Task) -> None:
    """A store in which nothing was applied says to run the backfill."""
    with pytest.raises(StateError, match="Run `python -m feature_pipeline backfill`"):
        FeastDataset(open_feature_store(Places.embedded(tmp_path))).read(task)


def test_a_registry_that_cannot_be_read_is_named(tmp_path: Path, task: Task) -> None:
    """It does not read as if the backfill were missing."""
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast" / "registry.db").write_text("this is no database, but text of some length")
    with pytest.raises(FeatureRegistryError, match=r"registry\.db: expected a sound database"):
        FeastDataset(open_feature_store(Places.embedded(tmp_path))).read(task)
