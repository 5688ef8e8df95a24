"""The result of a training run, as people and programs read it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    # A figure that is no number, or infinite, is a string in JSON, and can be read again.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class GateResult(_Part):
    """The gate's verdict."""

    passed: bool
    reasons: list[str]
    """One per failed rule."""
    notes: list[str] = []
    """Why the int8 file may not serve, and which rules could not be applied."""


class RowCounts(_Part):
    """How many labelled mentions went where."""

    labelled: int
    folded: int
    """Left out as near-copies of earlier ones."""
    train: int
    holdout: int


class TrainResult(_Part):
    """What a training run came to."""

    run_id: str
    """Of the registry's run."""
    version: str
    """The registered model version."""
    gate: GateResult
    champion: bool | None = None
    """Whether it became champion; None in results of earlier releases, where a pass made it so."""
    metrics: dict[str, float]
    rows: RowCounts
    dataset_sha256: str
