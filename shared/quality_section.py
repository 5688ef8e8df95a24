"""The quality section: what texts and labels are expected to be like. Part of a task file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.duration import Duration

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Allowance(_Section):
    """How many rows may be otherwise."""

    allowed: Share = 0.0
    """Their share of all."""


class Bounds(Allowance):
    """Between which numbers, both included, a figure of a text should be."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] | None = None


class Languages(Allowance):
    """Which languages texts should be in; a text whose language nobody told counts as another."""

    known: Annotated[list[str], Field(min_length=1)]


class Delay(Allowance):
    """How long after its publication a mention should be known."""

    max: Duration


class LabelShare(_Section):
    """Between which shares of all labels each label should be."""

    min: Share = 0.0
    max: Share = 1.0


class Quality(_Section):
    """What texts and labels are expected to be like. What is not given is not expected."""

    stop_backfill: bool = True
    """A backfill stops before it writes when an expectation does not hold; the stream never."""
    window: Annotated[int, Field(ge=1)] = 1_000
    """The stream is judged each time so many mentions, or so many labels, have come."""
    characters: Bounds | None = None
    words: Bounds | None = None
    named_subject: Allowance | None = None
    """Mentions of a subject other than the default one."""
    named_source: Allowance | None = None
    """Mentions from a source other than the default one."""
    language: Languages | None = None
    original: Allowance | None = None
    """Texts that are no near-copy of an earlier one; in the stream, of one in the same window."""
    delay: Delay | None = None
    labelled: Allowance | None = None
    """Mentions with a label. Not for the stream, where labels come later."""
    label_share: LabelShare | None = None
