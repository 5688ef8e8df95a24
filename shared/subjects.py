"""Which subject a text is about, when nobody says so."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field


class SubjectRules(BaseModel):
    """Aliases per subject. The subject whose alias stands first in the text wins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str = "other"
    aliases: dict[str, list[str]] = Field(default_factory=dict)

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

    def resolve(self, text: str) -> str:
        r"""Return the source that a text names, or the default.

        >>> SourceRules(pattern=r"RT @(\w+)").resolve("so true RT @Ann: late again")
        'Ann'
        """
        found = self.pattern.search(text) if self.pattern else None
        return found.group(1) if found else self.default
