"""Mentions and labels as the offline tables keep them, turned back into events."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from feature_pipeline.definition.records import LABEL_SCHEMA, MENTION_SCHEMA
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.store.offline_tables import OfflineTables
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT


def stored_events(tables: OfflineTables, until: datetime) -> EventTables:
    """Return the events of the tables that were known at a moment.

    Texts are the normalised ones, and addresses are not kept: both are of no matter to activity.
    A label that came after retention had dropped its mention has no subject and no source.
    """
    mentions = tables.read(MENTION_TEXT).filter(pl.col(KNOWN_AT) <= until)
    labels = tables.read(MENTION_LABEL).filter(pl.col(KNOWN_AT) <= until)
    keys = mentions.select("mention_id", "subject_id", "source_id")
    return EventTables(
        mentions.select(name for name in MENTION_SCHEMA if name in mentions.columns)
        .match_to_schema(MENTION_SCHEMA, missing_columns="insert")
        .sort(KNOWN_AT),
        with_corrections(labels.join(keys, on="mention_id", how="left")),
    )


def united(stored: EventTables, logged: EventTables) -> EventTables:
    """Return the events of both, each once."""
    mentions = pl.concat([stored.mentions, logged.mentions]).unique(
        ["mention_id"], keep="first", maintain_order=True
    )
    labels = pl.concat([stored.labels, logged.labels]).unique(
        ["mention_id", KNOWN_AT], keep="first", maintain_order=True
    )
    return EventTables(mentions.sort(KNOWN_AT), with_corrections(labels))


def without_strays(events: EventTables) -> tuple[EventTables, int]:
    """Leave out labels whose mention is gone; return what stays, and how many were left out.

    A label that comes late, after retention has dropped its mention, stands in the tables without
    one, and in the log with a subject of which nothing else may be known. Only what is made of both
    is free of them: the mention of a label in the log may stand in the tables, and the reverse.
    """
    about = ["mention_id", "subject_id", "source_id"]
    labels = events.labels.join(events.mentions, on=about, how="semi")
    left_out = events.labels.height - labels.height
    return EventTables(events.mentions, labels), left_out


def check_known(events: EventTables) -> None:
    """Check that each event tells when it was known and of whom: without, nothing can be counted.

    Raises:
        StateError: one does not, as in a table that others wrote to.
    """
    for view, rows, names in (
        (MENTION_TEXT, events.mentions, (KNOWN_AT, "mention_id", "subject_id", "source_id")),
        (MENTION_LABEL, events.labels, (KNOWN_AT, "mention_id", "label")),
    ):
        for name in names:
            if rows[name].null_count():
                raise StateError(
                    f"{view}, {name}",
                    expected="a value in every row",
                    found=f"{rows[name].null_count():,} rows without",
                    remedy="Delete those rows, or bring the table back from a backup.",
                )


def with_corrections(labels: pl.DataFrame) -> pl.DataFrame:
    """Return labels as ``LABEL_SCHEMA`` rows: each corrects the one before it of its mention.

    A log records a label only if it says something new, so there is nothing else to tell.
    """
    ordered = labels.sort(KNOWN_AT, maintain_order=True)
    return ordered.with_columns(
        pl.col("label").shift(1).over("mention_id").alias("previous_label"),
        pl.col(KNOWN_AT).shift(1).over("mention_id").alias("previous_known_at"),
    ).select(LABEL_SCHEMA.names())
