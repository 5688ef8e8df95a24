"""What training needs of a model registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from training_pipeline.evaluation.champion import ChampionPackage
from training_pipeline.registry.candidate import Candidate, Registered


@dataclass(frozen=True)
class PastVersion:
    """A version that was registered before, and how it did on the rows held out then."""

    version: str
    gate: str
    """``passed`` or ``failed``."""
    metrics: Mapping[str, float]
    """Empty where its run was deleted."""


@dataclass(frozen=True)
class PastTraining:
    """How a registered version came about."""

    version: str
    record: bytes = field(repr=False)
    """Its reproduction record, as it was registered."""
    losses: Sequence[float] = field(repr=False)
    """One per step."""


@dataclass(frozen=True)
class Leftover:
    """A run that came to no version, and never will."""

    run_id: str
    status: str
    began: datetime
    """When it was logged, UTC."""


class ModelRegistry(Protocol):
    """Keeps model versions. What cannot be read or kept is a StateError."""

    def check(self) -> None:
        """Return if the registry answers."""

    def fetch_champion(self, name: str, folder: Path) -> ChampionPackage | None:
        """Write the files of the champion into an empty folder; None: there is no champion."""

    def history(self, name: str) -> Sequence[PastVersion]:
        """Return the latest versions of a model, oldest first."""

    def register(self, candidate: Candidate) -> Registered:
        """Keep a candidate; make it champion if it passed the gate. Once, however often asked."""
