"""A feature store as the feature pipeline makes it for a small task, and mentions landing in it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from deltalake import write_deltalake

from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.offline_tables import OfflineTables
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, MENTION_TEXT
from shared.places import Places, offline_folder
from shared.task import Task
from tests.inference.registry_files import MODEL

if TYPE_CHECKING:
    from feast import FeatureStore

START = datetime(2026, 3, 1, tzinfo=UTC)


def open_task_store(home: Path, *, anew: bool = False) -> FeatureStore:
    """Open the store under a home as the feature pipeline does; anew: as a backfill does."""
    task = Task.model_validate(
        {
            "name": MODEL,
            "labels": ["negative", "neutral", "positive"],
            "input": {"format": "csv", "columns": {"text": "text", "published_at": "date"}},
            "activity": {"windows": {"24h": "1h"}},
            "training": {"base": "none"},
        }
    )
    store = open_feature_store(Places.embedded(home))
    apply_task(task, store, OfflineTables(Places.embedded(home).offline_store), anew=anew)
    return store


def land(home: Path, mentions: dict[str, str], *, mode: str = "append") -> None:
    """Write mentions, texts by id, as one commit of the stream worker (or of a backfill)."""
    path = str(offline_folder(home) / MENTION_TEXT)
    count = len(mentions)
    rows = pl.DataFrame(
        {
            KNOWN_AT: [START + timedelta(seconds=n) for n in range(count)],
            "mention_id": list(mentions),
            "subject_id": ["united"] * count,
            "source_id": ["ann"] * count,
            "text": list(mentions.values()),
            "fingerprint": ["0"] * count,
            "published_at": [START] * count,
            "language": pl.Series([None] * count, dtype=pl.String),
            **{
                name: pl.Series([0] * count, dtype=pl.Int64)
                for name in ("characters", "words", "exclamations", "shouted_words")
            },
        }
    ).with_columns(pl.col(KNOWN_AT, "published_at").dt.cast_time_unit("us"))
    write_deltalake(path, rows.to_arrow(), mode="overwrite" if mode == "overwrite" else "append")


def written(home: Path, view: str) -> pl.DataFrame:
    """Return the rows of a view's table."""
    return pl.read_delta(str(offline_folder(home) / view))


def texts(ids: Iterable[int]) -> dict[str, str]:
    """Return mentions with some of the tiny model's words."""
    words = ("bad", "late", "flight", "good", "great")
    return {f"m{n}": f"{words[n % 5]} {words[n // 5 % 5]}" for n in ids}
