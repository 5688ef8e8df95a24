"""When the steps of one request began and ended, for those who trace it."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference_pipeline.versions.served import ServedVersion


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A batch in which rows of the request ran, with those of others perhaps."""

    started: float
    seconds: float
    rows: int
    tokens: int
    """Padding included."""


@dataclass(slots=True)
class Timeline:
    """What the engine notes of one request while it answers it, if it is asked to.

    Moments are on the clock `time.monotonic`, None for steps that were not reached.
    """

    served: ServedVersion | None = None
    features_asked: float | None = None
    features_came: float | None = None
    """With it the wait for a thread begins."""
    degraded: bool = False
    batches: list[BatchRun] = field(default_factory=list)
