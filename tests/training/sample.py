"""Labelled mentions for tests: texts whose words tell their label, and a feature store of them."""

from __future__ import annotations

import random
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT, SOURCE_ACTIVITY, SUBJECT_ACTIVITY
from shared.places import Places, offline_folder
from shared.task import Task
from shared.text import fingerprint
from training_pipeline.rows import Rows

if TYPE_CHECKING:
    from feast import FeatureStore

LABELS = ["negative", "positive"]
WORDS = {
    "negative": ["awful", "late", "broken", "rude", "lost"],
    "positive": ["great", "kind", "quick", "lovely", "happy"],
}
START = datetime(2026, 1, 1, tzinfo=UTC)
MAX_LENGTH, BATCH_SIZE = 24, 16
FEATURES = ("mentions_24h", "share_negative_24h")


def texts_and_labels(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return texts, no two of which are copies, and their labels in turn."""
    chosen = random.Random(seed)  # noqa: S311 - texts, no secrets
    labels = [LABELS[i % 2] for i in range(count)]
    texts = [
        f"flight {i} was {chosen.choice(WORDS[label])} and {chosen.choice(WORDS[label])}"
        + " again" * chosen.randrange(6)
        for i, label in enumerate(labels)
    ]
    return texts, labels


def sample_rows(count: int, features: int = 2, seed: int = 0) -> Rows:
    """Return rows with random features, a third of them missing."""
    texts, labels = texts_and_labels(count, seed)
    numbers = np.random.default_rng(seed)
    values = numbers.poisson(3.0, (count, features)).astype(np.float32)
    values[numbers.random(values.shape) < 1 / 3] = np.nan
    return Rows(
        mention_ids=np.array([f"m{i:05}" for i in range(count)], dtype=object),
        texts=np.array(texts, dtype=object),
        fingerprints=np.array([fingerprint(text) for text in texts], dtype=object),
        known_at=np.arange(count).astype("datetime64[us]"),
        labels=np.array([LABELS.index(label) for label in labels]),
        features=values,
        subject_ids=np.array([("united", "delta")[i % 3 == 0] for i in range(count)], dtype=object),
        source_ids=np.array([f"source{i % 5}" for i in range(count)], dtype=object),
        languages=np.array([("en", None)[i % 4 == 0] for i in range(count)], dtype=object),
    )


def task_text(base: Path | str, *, min_gain: float = -1.0, epochs: int = 1, seed: int = 7) -> str:
    """Return a task file about the sample."""
    return f"""
        name = "flights"
        labels = ["negative", "positive"]
        [input]
        format = "csv"
        columns = {{ text = "text", label = "label", published_at = "at" }}
        [activity]
        windows = {{ 24h = "1h" }}
        [training]
        base = "{base}"
        max_length = {MAX_LENGTH}
        batch_size = {BATCH_SIZE}
        epochs = {epochs}
        encoder_learning_rate = 1e-3
        holdout_share = 0.25
        seed = {seed}
        gate = {{ min_gain_over_baseline = {min_gain} }}
        """


def sample_task(base: Path | str, *, epochs: int = 1, seed: int = 7, **training: object) -> Task:
    """Return a task about the sample, with other fields of the training section as given."""
    document = tomllib.loads(task_text(base, epochs=epochs, seed=seed))
    document["training"].update(training)
    return Task.model_validate(document)


def fill_feature_store(home: Path, mentions: pl.DataFrame, labels: pl.DataFrame) -> FeatureStore:
    """Apply the views of a task named ``flights`` and write their tables.

    Args:
        home: FTI_HOME.
        mentions: rows of mention_text.
        labels: rows of mention_label.
    """
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.data_format import DeltaFormat
    from feast.types import Float64, Int64, String
    from feast.value_type import ValueType

    def view(name: str, entity: str, fields: list[Field]) -> FeatureView:
        return FeatureView(
            name=name,
            entities=[entities[entity]],
            ttl=timedelta(0),
            schema=fields,
            source=FileSource(
                name=name,
                path=str(offline_folder(home) / name),
                file_format=DeltaFormat(),
                timestamp_field=KNOWN_AT,
            ),
        )

    entities = {
        name: Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.STRING)
        for name in ("mention", "subject", "source")
    }
    numbers = [Field(name=FEATURES[0], dtype=Int64), Field(name=FEATURES[1], dtype=Float64)]
    strings = ["subject_id", "source_id", "text", "fingerprint", "language"]
    activity = [
        view(SUBJECT_ACTIVITY, "subject", numbers),
        view(SOURCE_ACTIVITY, "source", numbers),
    ]
    facts = [
        view(MENTION_TEXT, "mention", [Field(name=name, dtype=String) for name in strings]),
        view(
            MENTION_LABEL, "mention", [Field(name=n, dtype=String) for n in ("label", "annotator")]
        ),
    ]
    store = open_feature_store(Places.embedded(home))
    service = FeatureService(name="flights", features=[*activity])
    store.apply([*entities.values(), *activity, *facts, service])
    for role in ("subject", "source"):
        changes = activity_changes(mentions, f"{role}_id")
        changes.write_delta(offline_folder(home) / f"{role}_activity")
    mentions.write_delta(offline_folder(home) / MENTION_TEXT)
    labels.write_delta(offline_folder(home) / MENTION_LABEL)
    return store


def add_mentions(home: Path, mentions: pl.DataFrame, labels: pl.DataFrame) -> None:
    """Write more rows of mention_text and of mention_label, as the stream does."""
    mentions.write_delta(offline_folder(home) / MENTION_TEXT, mode="append")
    labels.write_delta(offline_folder(home) / MENTION_LABEL, mode="append")


def activity_changes(mentions: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return a count of mentions that grows at each mention of its key, and a share of nulls."""
    return mentions.sort(KNOWN_AT).select(
        key,
        KNOWN_AT,
        pl.int_range(1, pl.len() + 1).over(key).cast(pl.Int64).alias(FEATURES[0]),
        pl.lit(None, dtype=pl.Float64).alias(FEATURES[1]),
    )


def sample_mentions(count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows of mention_text and of mention_label; a mention a minute, labels an hour late."""
    texts, labels = texts_and_labels(count)
    known = [START + timedelta(minutes=i) for i in range(count)]
    ids = [f"m{i:05}" for i in range(count)]
    mentions = pl.DataFrame(
        {
            "mention_id": ids,
            KNOWN_AT: known,
            "subject_id": [("united", "delta")[i % 3 == 0] for i in range(count)],
            "source_id": [f"source{i % 5}" for i in range(count)],
            "text": texts,
            "fingerprint": [fingerprint(text) for text in texts],
            "language": ["en"] * count,
        }
    )
    facts = pl.DataFrame(
        {
            "mention_id": ids,
            KNOWN_AT: [moment + timedelta(hours=1) for moment in known],
            "label": labels,
            "annotator": ["ann"] * count,
        }
    )
    return mentions, facts
