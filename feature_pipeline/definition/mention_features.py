"""Features of a single mention: its normalised text and statistics of it; its label."""

from __future__ import annotations

import polars as pl

from shared.features import KNOWN_AT
from shared.text import fingerprint, normalise


def mention_text(mentions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the view ``mention_text`` for ``MENTION_SCHEMA`` rows."""
    texts = [normalise(text) for text in mentions["text"]]
    text = pl.col("text")
    return mentions.with_columns(
        pl.Series("text", texts, dtype=pl.String),
        pl.Series("fingerprint", [fingerprint(text) for text in texts], dtype=pl.String),
    ).select(
        KNOWN_AT,
        "mention_id",
        "subject_id",
        "source_id",
        "text",
        "fingerprint",
        "published_at",
        "language",
        text.str.len_chars().cast(pl.Int64).alias("characters"),
        text.str.count_matches(r"\S+").cast(pl.Int64).alias("words"),
        text.str.count_matches(r"[!?]").cast(pl.Int64).alias("exclamations"),
        text.str.count_matches(r"\b\p{Lu}{2,}\b").cast(pl.Int64).alias("shouted_words"),
    )


def mention_label(labels: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the view ``mention_label`` for ``LABEL_SCHEMA`` rows."""
    return labels.select(KNOWN_AT, "mention_id", "label", "labelled_at", "annotator")
