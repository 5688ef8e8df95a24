"""Admitted events as tables: what the batch and the stream path have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from feature_pipeline.definition.activity import EVENT_SCHEMA
from feature_pipeline.definition.deltas import MOMENT
from shared.events import EARLIEST, Label, Mention
from shared.features import KNOWN_AT, Role, join_key

_MICROSECOND = timedelta(microseconds=1)

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
    known = list(events)
    columns: dict[str, list[Any]] = {KNOWN_AT: [_micros(event.known_at) for event in known]}
    for name in Mention.model_fields:
        columns[name] = [getattr(event.mention, name) for event in known]
    columns["published_at"] = [_micros(moment) for moment in columns["published_at"]]
    return pl.DataFrame(columns, schema=MENTION_SCHEMA).sort(KNOWN_AT, maintain_order=True)


def _micros(moment: datetime) -> int:
    """Return microseconds since 1970, which Polars takes six times as fast as the moment."""
    return (moment - EARLIEST) // _MICROSECOND


def label_table(events: Iterable[KnownLabel]) -> pl.DataFrame:
    """Return ``LABEL_SCHEMA`` rows in order of known_at."""
    known = list(events)
    columns = {}
    for name in LABEL_SCHEMA:
        if name in Label.model_fields:
            columns[name] = [getattr(event.label, name) for event in known]
        else:
            field = "known_at" if name == KNOWN_AT else name
            columns[name] = [getattr(event, field) for event in known]
    return pl.DataFrame(columns, schema=LABEL_SCHEMA).sort(KNOWN_AT, maintain_order=True)


def known_mentions(table: pl.DataFrame) -> list[KnownMention]:
    """Return the mentions of ``MENTION_SCHEMA`` rows, which were admitted before."""
    return [
        KnownMention(Mention.model_construct(**row), known_at)
        for known_at, row in zip(
            table[KNOWN_AT], table.drop(KNOWN_AT).iter_rows(named=True), strict=True
        )
    ]


def known_labels(table: pl.DataFrame) -> list[KnownLabel]:
    """Return the labels of ``LABEL_SCHEMA`` rows, which were admitted before."""
    fields = list(Label.model_fields)
    rest = table.drop(fields).iter_rows(named=True)
    labels = table.select(fields).iter_rows(named=True)
    return [
        KnownLabel(Label.model_construct(**label), known_at=row.pop(KNOWN_AT), **row)
        for label, row in zip(labels, rest, strict=True)
    ]


def role_events(role: Role, mentions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return what happened to the keys of one role, as ``activity.EVENT_SCHEMA`` rows."""
    key = pl.col(join_key(role)).alias("key")
    columns = [name for name in EVENT_SCHEMA if name not in {KNOWN_AT, "key"}]
    return pl.concat(
        [mentions.select(KNOWN_AT, key), labels.select(KNOWN_AT, key, *columns)], how="diagonal"
    ).match_to_schema(EVENT_SCHEMA, missing_columns="insert")
