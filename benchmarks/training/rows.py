"""The rows that every contender learns from: the first texts of a history, near-copies folded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from feature_pipeline.batch.history import read_history
from feature_pipeline.batch.text_rows import text_rows
from shared.task import Task
from training_pipeline.rows import Rows
from training_pipeline.split import fold_copies

ENDS = datetime(2026, 3, 15, tzinfo=UTC)
FEATURES = 24
"""As many as the sample task's windows and labels make; what they are changes no time."""
_MISSING = 0.2


def read_rows(history: Path, task: Task, count: int, *, seed: int = 7) -> Rows:
    """Return labelled rows with texts as the backfill normalises them, and made-up features.

    Args:
        history: a file that the task describes.
        task: gives columns and labels.
        count: of rows.
        seed: of the features.

    Raises:
        BenchmarkError: the file has fewer rows.
    """
    events = read_history(history, task, ENDS).events
    labels = events.labels.select("mention_id", "label").unique("mention_id", keep="last")
    found = (
        text_rows(events.mentions)
        .join(labels, on="mention_id", how="inner", maintain_order="left")
        .head(2 * count)
    )
    random = np.random.default_rng(seed)
    features = random.poisson(3.0, (len(found), FEATURES)).astype(np.float32)
    features[random.random(features.shape) < _MISSING] = np.nan
    rows = fold_copies(
        Rows(
            **{
                f"{name}s": np.array(found[name].to_list(), dtype=object)
                for name in (
                    *("mention_id", "text", "fingerprint"),
                    *("subject_id", "source_id", "language"),
                )
            },
            known_at=found["event_timestamp"].dt.replace_time_zone(None).to_numpy(),
            labels=np.array([task.labels.index(label) for label in found["label"]]),
            features=features,
        )
    ).take(slice(0, count))
    if len(rows) < count:
        raise BenchmarkError(str(history), expected=f"{count} texts", found=str(len(rows)))
    return rows
