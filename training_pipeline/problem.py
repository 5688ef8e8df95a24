"""A problem: the four parts of an error, as requests and runs show it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from shared.errors import FtiError


class Problem(BaseModel):
    """Where something went wrong, what was expected there, what was found, what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    expected: str
    found: str
    remedy: str = ""

    @classmethod
    def of(cls, error: FtiError) -> Self:
        """Return the parts of an error; its cause and its traceback stay inside."""
        return cls(
            place=error.place, expected=error.expected, found=error.found, remedy=error.remedy
        )
