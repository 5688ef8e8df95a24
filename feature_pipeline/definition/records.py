"""Admitted events as tables: what the batch and the stream path have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from feature_pipeline.definition.activity import EVENT_SCHEMA, MOMENT
from shared.events import Label, Mention
from shared.features import KNOWN_AT, Role, join_key

MENTION_SCHEMA = pl.Schema(
    {
        KNOWN_AT: MOMENT,
        "mention_id": pl.String(),
        "subject_id": pl.String(),
        "source_id": pl.String(),
        "text": pl.String(),
        "published_at": MOMENT,
        "language": pl.String(),
        "url": pl.String(),
    }
)
LABEL_SCHEMA = pl.Schema(
    {
        KNOWN_AT: MOMENT,
        "mention_id": pl.String(),
        "subject_id": pl.String(),
        "source_id": pl.String(),
        "label": pl.String(),
        "labelled_at": MOMENT,
        "annotator": pl.String(),
        "previous_label": pl.String(),
        "previous_known_at": MOMENT,
    }
)


@dataclass(frozen=True)
class KnownMention:
    """A mention, seen for the first time, with the moment at which the system learned of it."""

    mention: Mention
    known_at: datetime


@dataclass(frozen=True)
class KnownLabel:
    """A label that says something new, with whom it is about and which label it corrects."""

    label: Label
    known_at: datetime
    subject_id: str
    source_id: str
    previous_label: str | None = None
    previous_known_at: datetime | None = None


KnownEvent = KnownMention | KnownLabel


def mention_table(events: Iterable[KnownMention]) -> pl.DataFrame:
    """Return ``MENTION_SCHEMA`` rows in order of known_at."""
    rows = [{KNOWN_AT: event.known_at, **event.mention.model_dump()} for event in events]
    return pl.DataFrame(rows, schema=MENTION_SCHEMA).sort(KNOWN_AT, maintain_order=True)


def label_table(events: Iterable[KnownLabel]) -> pl.DataFrame:
    """Return ``LABEL_SCHEMA`` rows in order of known_at."""
    rows = [
        {
            KNOWN_AT: event.known_at,
            "subject_id": event.subject_id,
            "source_id": event.source_id,
            "previous_label": event.previous_label,
            "previous_known_at": event.previous_known_at,
            **event.label.model_dump(),
        }
        for event in events
    ]
    return pl.DataFrame(rows, schema=LABEL_SCHEMA).sort(KNOWN_AT, maintain_order=True)


def role_events(role: Role, mentions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return what happened to the keys of one role, as ``activity.EVENT_SCHEMA`` rows."""
    key = pl.col(join_key(role)).alias("key")
    columns = [name for name in EVENT_SCHEMA if name not in {KNOWN_AT, "key"}]
    return pl.concat(
        [mentions.select(KNOWN_AT, key), labels.select(KNOWN_AT, key, *columns)], how="diagonal"
    ).match_to_schema(EVENT_SCHEMA, missing_columns="insert")
