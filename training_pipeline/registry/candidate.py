"""A candidate for the registry, and where it is found once it was registered."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from training_pipeline.gate.verdict import Verdict

ANY = "*"
"""In place of a version's number: whichever it is."""


class Sample(NamedTuple):
    """What the machine did at a moment of a run."""

    moment: float
    """Seconds since 1970."""
    figures: Mapping[str, float]
    """By MLflow's name, such as ``system/cpu_utilization_percentage``."""


@dataclass(frozen=True)
class Candidate:
    """A packaged model and all that is to be remembered of how it came about."""

    name: str
    """The registered model: the task's name."""
    folder: Path
    """The files of the version."""
    feature_hash: str
    verdict: Verdict
    reason: str
    """Why the run was asked for."""
    started_at: float
    """Seconds since 1970."""
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    losses: Sequence[float]
    """One per step."""
    reproduction: Mapping[str, Any]
    report: str
    """A page of HTML."""
    code_diff: str = ""
    """How the code differs from its commit."""
    system: Sequence[Sample] = ()
    champion: str | None = ANY
    """The version that the verdict compared with; None: there was none. The alias moves only while
    that is so."""
    candidate_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Registered again, a candidate of the same id makes no second version."""


@dataclass(frozen=True)
class Registered:
    """Where a candidate is found."""

    run_id: str
    version: str
    champion: bool
    """Whether it became champion."""
    note: str = ""
    """Why it did not, though it passed the gate."""
