"""A file of history, as admitted mentions and labels plus the rows that could not be admitted."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from feature_pipeline.admission import Admission
from feature_pipeline.batch.history_file import Row, read_rows
from feature_pipeline.dead_letters import DeadLetter
from feature_pipeline.definition.records import KnownLabel, KnownMention
from shared.errors import InputError
from shared.events import Label, Mention
from shared.task import Input, Replay, Task

_IDS = ("mention_id", "subject_id", "source_id")
_LABEL_FIELDS = ("label", "labelled_at", "annotator")


@dataclass
class History:
    """What a file of history holds, in order of known_at."""

    mentions: list[KnownMention] = field(default_factory=list)
    labels: list[KnownLabel] = field(default_factory=list)
    rejected: list[DeadLetter] = field(default_factory=list)
    duplicates: int = 0

    @property
    def rows(self) -> int:
        """The number of rows that were read."""
        return len(self.mentions) + len(self.rejected) + self.duplicates

    def newest(self, count: int) -> History:
        """Return the newest mentions with their labels, and nothing else."""
        return self._of(self.mentions[max(0, len(self.mentions) - count) :])

    def without_newest(self, count: int) -> History:
        """Return everything but the newest mentions and their labels."""
        rest = self._of(self.mentions[: max(0, len(self.mentions) - count)])
        return replace(rest, rejected=self.rejected, duplicates=self.duplicates)

    def _of(self, mentions: list[KnownMention]) -> History:
        ids = {known.mention.mention_id for known in mentions}
        return History(mentions, [known for known in self.labels if known.label.mention_id in ids])


def read_history(path: Path, task: Task, now: datetime) -> History:
    """Read a file of history.

    A mention is known when it was published, a label when it was given or ``label_delay`` after
    its mention; nothing is known later than ``now``. With ``[input.replay]`` the times of mentions
    are simulated. The first of several rows with one mention_id counts.

    Args:
        path: the file.
        task: says how its columns map.
        now: the moment of the reading, UTC.

    Raises:
        InputError: the file cannot be read at all; rows that cannot are in ``rejected``.
    """
    rows = list(read_rows(path, task.input))
    times = _replayed_times(len(rows), task.input.replay, now) if task.input.replay else None
    admission = Admission(task)
    history = History()
    admitted: dict[str, tuple[Mention, Label | None]] = {}
    for number, row in enumerate(rows):
        try:
            fields = _mention_fields(row, task.input)
            if times is not None:
                fields["published_at"] = times[number]
            mention = admission.mention(row.place, fields)
            _check_not_ahead(row.place, mention.published_at, now)
            label = _label_of(row, mention, task, admission, now)
        except InputError as error:
            history.rejected.append(DeadLetter(row.place, str(error), row.raw, now))
            continue
        earlier = admitted.get(mention.mention_id)
        if earlier is not None:
            history.duplicates += 1
            if earlier[0].published_at <= mention.published_at:
                continue
        admitted[mention.mention_id] = (mention, label)
    for mention, label in sorted(admitted.values(), key=lambda pair: pair[0].published_at):
        history.mentions.append(KnownMention(mention, mention.published_at))
        if label is not None:
            # Nobody knows what a mention is before the mention itself is known.
            known_at = max(label.labelled_at, mention.published_at)
            history.labels.append(
                KnownLabel(label, known_at, mention.subject_id, mention.source_id)
            )
    history.labels.sort(key=lambda known: known.known_at)
    return history


def _mention_fields(row: Row, rules: Input) -> dict[str, Any]:
    if row.fields is None:
        raise InputError(row.place, expected="a whole row", found=row.broken)
    named = rules.columns.model_dump(exclude_none=True)
    fields = {
        role: _absent_if_blank(row.fields.get(column))
        for role, column in named.items()
        if role not in _LABEL_FIELDS
    }
    if rules.columns.published_at is not None:
        fields["published_at"] = _as_utc(fields["published_at"])
    if rules.columns.mention_id is None:
        identity = json.dumps(fields, default=str, sort_keys=True)
        fields["mention_id"] = hashlib.sha256(identity.encode()).hexdigest()[:20]
    for role in _IDS:
        if isinstance(fields.get(role), int):
            fields[role] = str(fields[role])
    return fields


def _label_of(
    row: Row, mention: Mention, task: Task, admission: Admission, now: datetime
) -> Label | None:
    columns = task.input.columns
    if columns.label is None or row.fields is None:
        return None
    value = _absent_if_blank(row.fields.get(columns.label))
    if value is None:
        return None
    fields: dict[str, Any] = {"mention_id": mention.mention_id, "label": value}
    labelled_at = columns.labelled_at and _absent_if_blank(row.fields.get(columns.labelled_at))
    # Without a time of its own a label is known after the delay, but not later than now.
    fields["labelled_at"] = _as_utc(labelled_at) or min(
        mention.published_at + task.input.label_delay, now
    )
    if columns.annotator is not None:
        fields["annotator"] = _absent_if_blank(row.fields.get(columns.annotator)) or "unknown"
    label = admission.label(row.place, fields)
    _check_not_ahead(row.place, label.labelled_at, now)
    return label


def _check_not_ahead(place: str, moment: datetime, now: datetime) -> None:
    if moment > now:
        raise InputError(
            f"{place}, time",
            expected=f"a moment not after {now.isoformat()}",
            found=moment.isoformat(),
        )


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


def _replayed_times(count: int, replay: Replay, now: datetime) -> list[datetime]:
    """Return simulated arrival times: a Poisson process over the span, in shuffled row order."""
    generator = random.Random(replay.seed)  # noqa: S311 - a simulation, no secret
    gaps = [generator.expovariate(1.0) for _ in range(count)]
    order = list(range(count))
    generator.shuffle(order)
    ends = replay.ends or now
    scale = replay.span / sum(gaps) if gaps else timedelta(0)
    times = [ends] * count
    elapsed = 0.0
    for gap, row in zip(gaps, order, strict=True):
        elapsed += gap
        times[row] = min(ends, ends - replay.span + scale * elapsed)
    return times
