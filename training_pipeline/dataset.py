"""The dataset: labelled mentions and their features, read from the feature store.

The only module here that knows Feast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from shared.errors import StateError, UnavailableError
from shared.feature_store import FeatureService, read_feature_service, registry_errors
from shared.features import (
    JUST_BEFORE,
    KNOWN_AT,
    MENTION_LABEL,
    MENTION_TEXT,
    feature_service_name,
)
from shared.task import Task
from training_pipeline.rows import Rows, identity

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore

# Wide enough for everything, narrow enough for timestamps in nanoseconds.
_EVER = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
_MOST_NAMED = 5
_PINNED_REMEDY = (
    "Table versions that were vacuumed stay gone; FTI_FEATURES_KEEP_VERSIONS_DAYS says how long"
    " they can be read."
)
_REMEDY = "Run `python -m feature_pipeline backfill` with labelled texts, or post labels."


class PolarsJob(Protocol):
    """What the configured offline store answers with, beyond Feast's own interface."""

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each table read."""

    def to_polars(self) -> pl.DataFrame:
        """Run the query."""


@dataclass(frozen=True)
class Dataset:
    """What a task can be trained on, and its identity."""

    rows: Rows
    service: FeatureService
    versions: Mapping[str, int]
    """Per feature view, the version of its table that was read."""
    sha256: str
    """Of the rows in order, the features' names and the versions."""


class DatasetSource(Protocol):
    """Where labelled mentions come from."""

    def read(self, task: Task) -> Dataset:
        """Return all labelled mentions of a task."""


class FeastDataset:
    """Reads datasets from a feature store."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._pinned = bool(store.config.offline_store.versions)

    def read(self, task: Task) -> Dataset:
        """Return all labelled mentions of a task, oldest first.

        Each row carries the features as of just before its mention was known, which is what
        serving knows when it is asked about a new mention.

        Raises:
            StateError: the store lacks a view or the feature service, no mention is labelled, a
                label is not among the task's, or one of the task's labels never occurs.
            UnavailableError: what holds the tables does not answer.
            FeatureRegistryError: the feature registry is damaged or away.
        """
        service = read_feature_service(self._store, feature_service_name(task.name))
        labelled, versions = self._labelled_mentions()
        _check_labels(labelled["label"].to_list(), task.labels)
        features, feature_versions = self._features(labelled, service)
        rows = Rows(
            mention_ids=_objects(labelled["mention_id"]),
            texts=_objects(labelled["text"]),
            fingerprints=_objects(labelled["fingerprint"]),
            known_at=labelled[KNOWN_AT].dt.replace_time_zone(None).to_numpy(),
            labels=np.array([task.labels.index(label) for label in labelled["label"]]),
            features=features,
            subject_ids=_objects(labelled["subject_id"]),
            source_ids=_objects(labelled["source_id"]),
            languages=_objects(labelled["language"]),
        )
        versions = {**versions, **feature_versions}
        columns = [feature.column for feature in service.features]
        sha256 = identity(rows, columns, versions)
        return Dataset(rows=rows, service=service, versions=versions, sha256=sha256)

    def _labelled_mentions(self) -> tuple[pl.DataFrame, dict[str, int]]:
        """Return mentions with their latest label, ordered by (known_at, mention_id)."""
        labels, label_versions = self._latest(MENTION_LABEL, ["label"])
        columns = ["subject_id", "source_id", "text", "fingerprint", "language"]
        mentions, text_versions = self._latest(MENTION_TEXT, columns)
        labelled = mentions.join(labels.select("mention_id", "label"), on="mention_id")
        if labelled.is_empty():
            raise StateError(
                "feature store",
                expected="labelled mentions to train on",
                found=f"{len(mentions)} mentions and {len(labels)} labels, none of which meet",
                remedy=_REMEDY,
            )
        return labelled.sort(KNOWN_AT, "mention_id"), {**label_versions, **text_versions}

    def _latest(self, view: str, columns: list[str]) -> tuple[pl.DataFrame, dict[str, int]]:
        """Return the latest row per mention of a view, and the table version it was read at."""
        from feast.errors import FeatureViewNotFoundException

        try:
            with registry_errors(self._store):
                source = self._store.get_feature_view(view).batch_source
        except FeatureViewNotFoundException:
            source = None
        if source is None:
            raise StateError(
                f"feature store, project {self._store.project}",
                expected=f"a feature view {view!r}",
                found="none of that name",
                remedy=_REMEDY,
            )
        with _reading(f"view {view}", pinned=self._pinned):
            job = self._store.provider.offline_store.pull_latest_from_table_or_query(
                config=self._store.config,
                data_source=source,
                join_key_columns=["mention_id"],
                feature_name_columns=columns,
                timestamp_field=source.timestamp_field,
                created_timestamp_column=source.created_timestamp_column,
                start_date=_EVER[0],
                end_date=_EVER[1],
            )
            found = cast("PolarsJob", job)
            return found.to_polars(), dict(found.versions)

    def _features(
        self, labelled: pl.DataFrame, service: FeatureService
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], dict[str, int]]:
        """Return features [rows, features] with NaN for missing, and the table versions read."""
        import polars as pl

        asked = labelled.select(
            "mention_id", "subject_id", "source_id", labelled[KNOWN_AT] - JUST_BEFORE
        )
        with registry_errors(self._store):
            registered = self._store.get_feature_service(service.name)
        with _reading("historical features", pinned=self._pinned):
            job = self._store.get_historical_features(
                entity_df=asked.to_pandas(),
                features=registered,
                full_feature_names=True,
            )
            found = cast("PolarsJob", job)
            answered = found.to_polars()
        if answered["mention_id"].to_list() != asked["mention_id"].to_list():
            raise StateError(
                "feature store, historical features",
                expected=f"one row for each of {len(asked)} mentions, in order",
                found=f"{len(answered)} rows, others or in another order",
            )
        columns = answered.select(feature.column for feature in service.features)
        # Through 32-bit floats in polars: there a null becomes NaN, whatever its column's type.
        values = columns.cast(pl.Float32).to_numpy()
        return np.ascontiguousarray(values, dtype=np.float32), dict(found.versions)


@contextmanager
def _reading(what: str, *, pinned: bool = False) -> Iterator[None]:
    """Turn whatever the offline store raises, a plug-in with errors of its own, into ours."""
    try:
        yield
    except Exception as error:
        raise (UnavailableError if _is_passing(error) else StateError)(
            f"feature store, {what}",
            expected="rows that can be read",
            found=type(error).__name__,
            remedy=_PINNED_REMEDY if pinned else _REMEDY,
        ) from error


def _is_passing(error: BaseException | None) -> bool:
    """Tell whether a disk or an object store is away, by the errors behind an error."""
    while error is not None:
        if isinstance(error, OSError):
            return not isinstance(error, FileNotFoundError | PermissionError)
        error = error.__cause__ or error.__context__
    return False


def _check_labels(found: list[str], expected: list[str]) -> None:
    strange = Counter(label for label in found if label not in expected)
    if strange:
        most = strange.most_common(_MOST_NAMED)
        named = ", ".join(f"{label!r} on {rows:,}" for label, rows in most)
        more = f", and {len(strange) - len(most)} other labels" if len(strange) > len(most) else ""
        raise StateError(
            "feature store, view mention_label",
            expected=f"labels of the task: {', '.join(expected)}",
            found=f"{named} of {len(found):,} rows{more}",
            remedy="Add the labels to the task file, or correct them with new labels.",
        )
    absent = sorted(set(expected) - set(found))
    if absent:
        raise StateError(
            "feature store, view mention_label",
            expected="mentions of every label of the task",
            found=f"none labelled {', '.join(absent)}",
            remedy=_REMEDY,
        )


def _objects(column: pl.Series) -> np.ndarray[Any, np.dtype[np.object_]]:
    return np.array(column.to_list(), dtype=np.object_)
