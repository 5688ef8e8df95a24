"""Errors that tell a person where to look and what to do."""

from __future__ import annotations

from typing import Self


class FtiError(Exception):
    """A failure that the person who caused it can mend.

    Every message names the place, what was expected there, what was found, and the remedy.
    """

    passing = False
    """Whether something is away or full, so that the same step may be allowed in a while."""

    def __init__(self, place: str, *, expected: str, found: str, remedy: str = "") -> None:
        self.place = place
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.place}: expected {self.expected}, found {self.found.rstrip('.')}."
        return f"{text} {self.remedy}" if self.remedy else text

    def within(self, place: str) -> Self:
        """Return the same error, its place seen from further out."""
        return type(self)(
            f"{place}, {self.place}",
            expected=self.expected,
            found=self.found,
            remedy=self.remedy,
        )

    def as_dict(self) -> dict[str, str]:
        """Return the error as the services answer with it."""
        return {
            "place": self.place,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy,
        }


class SettingsError(FtiError):
    """An environment variable is unknown or holds a value that it cannot."""


class TaskError(FtiError):
    """A task file does not say what a task file must say."""


class InputError(FtiError):
    """A file of history, an event or a request does not fit its contract."""


class StateError(FtiError):
    """What is stored, or where it is stored, does not allow the step that was asked for."""


class UnavailableError(StateError):
    """What is needed does not answer, or has no room: the same step may be allowed in a while."""

    passing = True


class ContractError(FtiError):
    """A model version and the feature store disagree about the features."""
