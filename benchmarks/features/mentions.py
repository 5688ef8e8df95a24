"""Made-up mentions: few keys have most of them, and one in three comes with a label."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

SUBJECTS = 2_000
SOURCES = 20_000
ENDS = datetime(2026, 3, 15, tzinfo=UTC)
SPAN = timedelta(days=14)
LABELS = ("negative", "neutral", "positive")
_WORDS = [
    *("flight", "late", "again", "never", "not", "good", "bad", "great", "phone", "battery"),
    *("dead", "love", "it", "hate", "them", "thanks", "so", "much", "@United", "@Apple", "RT"),
    *(":)", "!", "service", "café", "why", "today", "the", "a", "and", "is", "was", "&amp;"),
    "http://t.co/x1",
]
_TEXT_WORDS = 12
_SKEW = 1.1
"""Exponent of Zipf's law for how often a key comes."""

TASK = """
name = "bench_features"
labels = ["negative", "neutral", "positive"]
[input]
format = "parquet"
[input.columns]
text = "text"
mention_id = "mention_id"
subject_id = "subject_id"
source_id = "source_id"
published_at = "published_at"
label = "label"
[activity.windows]
"1h" = "5m"
"24h" = "1h"
"7d" = "6h"
[training]
base = "none"
"""


def make_mentions(count: int, seed: int) -> pl.DataFrame:
    """Return mentions, in order of time, as the columns of a file; two of three have no label."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, SPAN // timedelta(microseconds=1), count))
    drawn = draw.integers(0, len(_WORDS), (count, _TEXT_WORDS))
    words = pl.Series(_WORDS)
    text = pl.select(pl.concat_str((words.gather(each) for each in drawn.T), separator=" "))
    labels = pl.Series([*LABELS, *[""] * 6]).gather(draw.integers(0, 9, count))
    numbers = pl.Series(np.arange(count)).cast(pl.String)
    return pl.DataFrame(
        {
            "mention_id": f"m{seed}-" + numbers,
            "subject_id": _keys("subject", SUBJECTS, count, draw),
            "source_id": _keys("source", SOURCES, count, draw),
            "text": text.to_series(),
            "published_at": pl.Series(times).cast(pl.Duration("us")) + (ENDS - SPAN),
            "label": labels,
        }
    )


def write_task(folder: Path) -> Path:
    """Write the task file; return its path."""
    path = folder / "bench_features.toml"
    path.write_text(TASK)
    return path


def _keys(role: str, kinds: int, count: int, draw: np.random.Generator) -> pl.Series:
    weights = 1 / np.arange(1, kinds + 1) ** _SKEW
    names = pl.Series([f"{role} {number}" for number in range(kinds)])
    return names.gather(draw.choice(kinds, count, p=weights / weights.sum()))
