"""Events: a mention is published, a label becomes known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from shared.text import MAX_TEXT_CHARS, normalise

MAX_ID_CHARS = 200
MAX_LANGUAGE_CHARS = 35
MAX_URL_CHARS = 2_000


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Time begins after it: logs and features count from here."""


LATEST = datetime(9999, 12, 31, tzinfo=UTC)
"""Within it any time zone's time can be told in UTC."""


def _to_utc(moment: datetime) -> datetime:
    if not EARLIEST < moment < LATEST:
        raise ValueError(f"a moment after {EARLIEST:%Y-%m-%d} and before {LATEST:%Y-%m-%d}")
    return moment.astimezone(UTC)


def _is_a_time(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("a time in ISO 8601, such as '2026-01-31T12:00:00Z'")  # noqa: TRY004 - pydantic's
    return value


def _trimmed(identifier: str) -> str:
    if identifier != identifier.strip():
        raise ValueError("an id without white space at its ends")
    return identifier


def _readable(text: str) -> str:
    if not normalise(text):
        raise ValueError("a text with something to read")
    return text


Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(_trimmed)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS), AfterValidator(_readable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_is_a_time), AfterValidator(_to_utc)]


class Event(BaseModel):
    """A fact about a mention. Unknown fields are refused, so that a typing error is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    mention_id: Identifier


class Mention(Event):
    """A text about a subject, published by a source. Times are UTC."""

    subject_id: Identifier
    source_id: Identifier
    text: Text
    published_at: Moment
    language: Annotated[str, Field(min_length=2, max_length=MAX_LANGUAGE_CHARS)] | None = None
    url: Annotated[str, Field(max_length=MAX_URL_CHARS)] | None = None


class Label(Event):
    """What a person said that a mention is. A later label for the same mention corrects it."""

    label: Identifier
    labelled_at: Moment
    annotator: Identifier = "unknown"
