"""Which subject a text is about, when nobody says so."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class SubjectRules(BaseModel):
    """Aliases per subject. The subject whose alias stands first in the text wins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str = "other"
    aliases: dict[str, list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _aliases_are_told_apart(self) -> Self:
        aliases = [alias.casefold() for names in self.aliases.values() for alias in names]
        twice = sorted({alias for alias in aliases if aliases.count(alias) > 1 or not alias})
        if twice:
            raise ValueError(f"each alias once, for one subject, unlike {twice[0]!r}")
        return self

    @cached_property
    def _subject_of(self) -> dict[str, str]:
        return {
            alias.casefold(): subject for subject, names in self.aliases.items() for alias in names
        }

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        if not self._subject_of:
            return None
        longest_first = sorted(self._subject_of, key=len, reverse=True)
        names = "|".join(re.escape(alias) for alias in longest_first)
        return re.compile(rf"(?<!\w)(?:{names})(?!\w)")

    def resolve(self, text: str) -> str:
        """Return the subject that a text names first, or the default.

        >>> rules = SubjectRules(aliases={"united": ["@united"], "apple": ["@apple", "#aapl"]})
        >>> rules.resolve("@United lost my bag, @apple did not"), rules.resolve("@unitedway")
        ('united', 'other')
        """
        found = self._pattern.search(text.casefold()) if self._pattern else None
        return self._subject_of[found.group()] if found else self.default


class SourceRules(BaseModel):
    r"""How a text names its source: the first group of a pattern, such as ``RT @(\w+)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str = "unknown"
    pattern: re.Pattern[str] | None = None

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: re.Pattern[str] | None) -> re.Pattern[str] | None:
        if pattern is not None and pattern.groups < 1:
            raise ValueError(r"a pattern with a group, such as 'RT @(\w+)'")
        return pattern

    def resolve(self, text: str) -> str:
        r"""Return the source that a text names, or the default.

        >>> SourceRules(pattern=r"RT @(\w+)").resolve("so true RT @Ann: late again")
        'Ann'
        """
        found = self.pattern.search(text) if self.pattern else None
        return (found.group(1) or self.default) if found else self.default
