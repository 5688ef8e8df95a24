"""What a ledger keeps of history: columns of its tables, never an object for each event."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shared.features import KNOWN_AT


def mention_rows(mentions: pl.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Return id, subject and source of ``records.MENTION_SCHEMA`` rows, by id.

    A tree of ids grows faster in their order.
    """
    return mentions.select("mention_id", "subject_id", "source_id").sort("mention_id").iter_rows()


def label_rows(labels: pl.DataFrame) -> Iterator[tuple[str, str, int]]:
    """Return, by id, the current label of each mention of ``records.LABEL_SCHEMA`` rows.

    Returns:
        Id, label, and when it became known, in microseconds since 1970.
    """
    current = labels.sort(KNOWN_AT, maintain_order=True).unique(
        "mention_id", keep="last", maintain_order=True
    )
    known_at = pl.col(KNOWN_AT).dt.epoch("us")
    return current.select("mention_id", "label", known_at).sort("mention_id").iter_rows()
