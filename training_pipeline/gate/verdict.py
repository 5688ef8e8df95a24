"""The verdict: whether a model passed; of each failed rule, what was wanted and what shows it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

VERDICT_FILE = "verdict.json"
MAX_ROWS = 10
"""Rows that a failure names."""
MAX_CHARACTERS = 120
"""Of a text that a failure shows."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailedRow(_Part):
    """A row on which a failure shows."""

    mention_id: str
    """Or the name of a behavioural test, whose texts are no mentions."""
    text: str
    wanted: str
    got: str


class Failure(_Part):
    """One rule that does not hold."""

    rule: str
    """Its name in the task file, ``training.gate``."""
    about: str
    """What the rule is about, in words."""
    wanted: str
    got: str
    rows: tuple[FailedRow, ...] = ()

    def __str__(self) -> str:
        return f"{self.about}: wanted {self.wanted}, got {self.got}"


class Skipped(_Part):
    """A rule that could not be applied."""

    rule: str
    reason: str


class Verdict(_Part):
    """What the gate says of a model."""

    failures: tuple[Failure, ...] = ()
    """One per rule that does not hold; any fails the model."""
    withheld: tuple[Failure, ...] = ()
    """Why the int8 file may not serve. The model in full precision may, if nothing failed."""
    skipped: tuple[Skipped, ...] = ()
    headline: str = "fp32"
    """The variant that the figures belong to."""

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return not self.failures

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line per failed rule."""
        return tuple(str(failure) for failure in self.failures)

    @property
    def notes(self) -> tuple[str, ...]:
        """One line per rule that withholds the int8 file or could not be applied."""
        withheld = [f"int8 is withheld: {failure}" for failure in self.withheld]
        return (*withheld, *(f"{one.rule} was not applied: {one.reason}" for one in self.skipped))

    def as_json(self) -> dict[str, object]:
        """Return the verdict as it is logged."""
        return {"passed": self.passed, **self.model_dump(mode="json")}


def cut(text: str) -> str:
    """Return a text as a failure shows it.

    >>> cut("late again"), len(cut("a" * 500)) == MAX_CHARACTERS
    ('late again', True)
    """
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
