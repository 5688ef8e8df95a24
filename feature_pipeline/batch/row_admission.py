"""Rows of a file, one by one: each becomes a mention and its label, or an error that says why."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from feature_pipeline.admission import Admission
from feature_pipeline.batch.history_file import IDS, Row
from shared.errors import InputError
from shared.events import Label, Mention
from shared.task import Input, Task

LABEL_FIELDS = ("label", "labelled_at", "annotator")

_IDENTITY = json.JSONEncoder(default=str, sort_keys=True)


class RowAdmission:
    """The rule for rows of files. ``ColumnAdmission`` may only be quicker, never of another mind.

    Args:
        task: says how columns map, and holds the rule for events.
        now: nothing is known later.
    """

    def __init__(self, task: Task, now: datetime) -> None:
        self._task = task
        self._rules = task.input
        self._now = now
        self._admission = Admission(task)

    def admit(self, row: Row, replayed: datetime | None) -> tuple[Mention, Label | None]:
        """Return a row's mention and its label, if it has one.

        Args:
            row: a row of the file.
            replayed: its simulated time, where the task simulates times.

        Raises:
            InputError: the row does not fit.
        """
        fields = _mention_fields(row, self._rules)
        if replayed is not None:
            fields["published_at"] = replayed
        mention = self._admission.mention(row.place, fields)
        self._check_not_ahead(row.place, mention.published_at)
        return mention, self._label(row, mention)

    def _label(self, row: Row, mention: Mention) -> Label | None:
        columns = self._rules.columns
        if columns.label is None or row.fields is None:
            return None
        value = _absent_if_blank(row.fields.get(columns.label))
        if value is None:
            return None
        fields: dict[str, Any] = {"mention_id": mention.mention_id, "label": value}
        labelled_at = columns.labelled_at and _absent_if_blank(row.fields.get(columns.labelled_at))
        # Without a time of its own a label is known after the delay, but not later than now.
        fields["labelled_at"] = _as_utc(labelled_at) or min(
            mention.published_at + self._rules.label_delay, self._now
        )
        if columns.annotator is not None:
            fields["annotator"] = _absent_if_blank(row.fields.get(columns.annotator)) or "unknown"
        label = self._admission.label(row.place, fields)
        self._check_not_ahead(row.place, label.labelled_at)
        return label

    def _check_not_ahead(self, place: str, moment: datetime) -> None:
        if moment > self._now:
            raise InputError(
                f"{place}, time",
                expected=f"a moment not after {self._now.isoformat()}",
                found=moment.isoformat(),
            )


def identity(fields: Mapping[str, object]) -> str:
    """Return the id of a mention whose file gives none: its fields, hashed."""
    return hashlib.sha256(_IDENTITY.encode(fields).encode()).hexdigest()[:20]


def _mention_fields(row: Row, rules: Input) -> dict[str, Any]:
    if row.fields is None:
        raise InputError(row.place, expected="a whole row", found=row.broken)
    named = rules.columns.model_dump(exclude_none=True)
    fields = {
        role: _absent_if_blank(row.fields.get(column))
        for role, column in named.items()
        if role not in LABEL_FIELDS
    }
    if rules.columns.published_at is not None:
        fields["published_at"] = _as_utc(fields["published_at"])
    if rules.columns.mention_id is None:
        fields["mention_id"] = identity(fields)
    for role in IDS:
        if isinstance(fields.get(role), int):
            fields[role] = str(fields[role])
    return fields


def _absent_if_blank(value: object) -> object:
    blank = value is None or (isinstance(value, str) and not value.strip())
    return None if blank or (isinstance(value, float) and math.isnan(value)) else value


def _as_utc(value: object) -> object:
    """Return a time with a zone where the file gives one without: times are UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
