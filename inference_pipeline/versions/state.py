"""What is known of one model in this server, as a value that is replaced and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from inference_pipeline.versions.leases import Holder
from inference_pipeline.versions.registry import CHALLENGER, SERVED_ALIASES, ModelVersion
from inference_pipeline.versions.served import FeatureMismatchError, ServedVersion
from inference_pipeline.versions.traffic import challenger_share
from shared.errors import ContractError, FtiError
from shared.manifest import CHAMPION

V = TypeVar("V")


@dataclass(frozen=True)
class Refusal:
    """A version that failed a check."""

    version: ModelVersion
    reason: ContractError
    mismatch: FeatureMismatchError | None
    """Set when a change of the feature store can mend it."""


@dataclass(frozen=True)
class InService:
    """A version that serves, and what counts who holds it."""

    served: ServedVersion
    holder: Holder
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelState:
    """What is known of one model."""

    name: str
    by_alias: Mapping[str, InService] = field(default_factory=dict)
    """The versions in service by the alias that named them."""
    by_number: Mapping[str, InService] = field(default_factory=dict)
    """Versions that were asked for by their number."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By alias: the version that it names now, if that may not serve."""
    troubles: Mapping[str, FtiError] = field(default_factory=dict)
    """By what was tried, such as an alias: why it did not work the last time."""
    in_use: bool = True
    """False from the moment it was taken out of service until it is loaded again."""

    @property
    def champion(self) -> ServedVersion | None:
        """The version that answers where nothing else is asked for."""
        found = self.by_alias.get(CHAMPION)
        return None if found is None else found.served

    @property
    def served(self) -> list[ServedVersion]:
        """All versions in service: by alias, in the order of `SERVED_ALIASES`, then by number."""
        return [entry.served for entry in self.entries()]

    @property
    def ready(self) -> bool:
        """Whether the model answers."""
        return self.in_use and self.champion is not None

    @property
    def share(self) -> float:
        """The share of requests that the challenger gets, 0 to 1."""
        challenger = self.by_alias.get(CHALLENGER)
        if challenger is None:
            return 0.0
        try:
            return challenger_share(challenger.tags)
        except ContractError:
            # Told in `problems`.
            return 0.0

    def entries(self) -> Iterator[InService]:
        """Return all versions in service with their holders, the champion first."""
        yield from (self.by_alias[alias] for alias in SERVED_ALIASES if alias in self.by_alias)
        yield from self.by_number.values()

    def holders(self) -> set[Holder]:
        """Return what counts the leases of the versions in service."""
        return {entry.holder for entry in self.entries()}

    def find(self, version: ModelVersion) -> InService | None:
        """Return a version if it serves, under whatever name."""
        return next((entry for entry in self.entries() if entry.served.version == version), None)

    def put(self, alias: str, entry: InService, tags: Mapping[str, str]) -> ModelState:
        """Return the state in which a version serves under an alias."""
        named = replace(entry, served=replace(entry.served, alias=alias), tags=tags)
        return replace(self, by_alias={**self.by_alias, alias: named})

    def add(self, entry: InService) -> ModelState:
        """Return the state in which a version serves, for those who ask for its number."""
        numbered = replace(entry, served=replace(entry.served, alias=None))
        number = entry.served.version.version
        return replace(self, by_number={**self.by_number, number: numbered})

    def drop(self, alias: str) -> ModelState:
        """Return the state in which nothing serves under an alias."""
        return replace(self, by_alias=_without(self.by_alias, alias))

    def mark(self, holder: Holder, mismatch: FeatureMismatchError | None) -> ModelState:
        """Return the state in which a version does, or does not, find its features."""

        def marked(entries: Mapping[str, InService]) -> dict[str, InService]:
            return {
                name: replace(entry, served=replace(entry.served, mismatch=mismatch))
                if entry.holder is holder
                else entry
                for name, entry in entries.items()
            }

        return replace(self, by_alias=marked(self.by_alias), by_number=marked(self.by_number))

    def refuse(self, alias: str, refusal: Refusal) -> ModelState:
        """Return the state in which the version that an alias names may not serve."""
        return replace(self.clear(alias), refusals={**self.refusals, alias: refusal})

    def forgive(self, alias: str) -> ModelState:
        """Return the state in which the version that an alias names is not refused."""
        return replace(self, refusals=_without(self.refusals, alias))

    def settle(self, alias: str) -> ModelState:
        """Return the state in which nothing is wrong with an alias."""
        return self.forgive(alias).clear(alias)

    def trouble(self, what: str, why: FtiError) -> ModelState:
        """Return the state in which something did not work."""
        return replace(self, troubles={**self.troubles, what: why})

    def clear(self, what: str) -> ModelState:
        """Return the state in which it works again."""
        return replace(self, troubles=_without(self.troubles, what))

    def problems(self) -> list[FtiError]:
        """Return all that is wrong: with a champion these are warnings, without it the reasons."""
        found: list[FtiError] = [refusal.reason for refusal in self.refusals.values()]
        found += self.troubles.values()
        challenger = self.by_alias.get(CHALLENGER)
        if challenger is not None:
            try:
                challenger_share(challenger.tags)
            except ContractError as error:
                found.append(error.within(_place(challenger.served.version)))
        for served in self.served:
            if served.mismatch is not None:
                found.append(_without_features(served, served.mismatch))
            found += served.model.refused_variants
        return [*{str(error): error for error in found}.values()]


def _without(mapping: Mapping[str, V], key: str) -> dict[str, V]:
    return {name: value for name, value in mapping.items() if name != key}


def _place(version: ModelVersion) -> str:
    return f"model {version.name} version {version.version}"


def _without_features(served: ServedVersion, mismatch: FeatureMismatchError) -> FtiError:
    return ContractError(
        f"{_place(served.version)}, {mismatch.place}",
        expected=mismatch.expected,
        found=mismatch.found,
        remedy=f"It answers without features until then. {mismatch.remedy}",
    )
