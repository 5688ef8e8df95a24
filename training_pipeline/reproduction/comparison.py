"""The comparison of a run with the record of an earlier one: how far it came, what differs first.

Latency is never compared: it tells of the machine and its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from training_pipeline.reproduction.record import Environment, ReproductionRecord

_NOT_COMPARED = ("code.commit_from", "code.diff_bytes", "code.diff_kept")


class Tier(StrEnum):
    """How far a run came."""

    BITS = "bits"
    """The same weights, and the same logits of every held-out row."""
    LABELS = "labels"
    """The same label on every held-out row."""
    METRICS = "metrics"
    """Accuracy and macro F1 within the intervals of the recorded run."""
    NONE = "none"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Part):
    """Something that is not as it was recorded."""

    step: str
    """Of a run, in order: environment, task, dataset, base encoder, initial weights, loss, weights,
    logits, labels, metrics."""
    what: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.recorded} recorded, {self.now} now"


class Comparison(_Part):
    """How a run compares with a record."""

    tier: Tier
    differences: tuple[Difference, ...]
    """In the order of a run: the first is what differed first."""

    @property
    def first(self) -> Difference | None:
        """What differed first; None if nothing did."""
        return self.differences[0] if self.differences else None


def compare(
    recorded: ReproductionRecord,
    now: ReproductionRecord,
    recorded_losses: Sequence[float],
    losses: Sequence[float],
) -> Comparison:
    """Compare a run with the record of an earlier one of the same task.

    Args:
        recorded: what the earlier one came to.
        now: what this one came to.
        recorded_losses: of each step of the earlier one.
        losses: of each step of this one.
    """
    differences = [
        *environment_differences(recorded.environment, now.environment),
        *_of("task", recorded.task, now.task),
        *_of("dataset", recorded.dataset.model_dump(), now.dataset.model_dump()),
        *_of("base encoder", recorded.base.files, now.base.files),
        *_of(
            "initial weights",
            {"SHA-256": recorded.fit.initial_weight_sha256},
            {"SHA-256": now.fit.initial_weight_sha256},
        ),
        *_losses(recorded_losses, losses),
        *_of(
            "weights",
            {"SHA-256": recorded.fit.weight_sha256},
            {"SHA-256": now.fit.weight_sha256},
        ),
    ]
    told, got = recorded.evaluation, now.evaluation
    for step, name in (("logits", "logits_sha256"), ("labels", "labels_sha256")):
        pair = getattr(told, name), getattr(got, name)
        differences += _of(step, {"SHA-256": pair[0]}, {"SHA-256": pair[1]})
    figures = ("accuracy", "macro_f1")
    differences += _of("metrics", *({n: getattr(one, n) for n in figures} for one in (told, got)))
    return Comparison(tier=_tier(recorded, now), differences=tuple(differences))


def environment_differences(recorded: Environment, now: Environment) -> tuple[Difference, ...]:
    """Return how code, packages, machine and processes differ."""
    return tuple(_of("environment", recorded.model_dump(), now.model_dump()))


def _tier(recorded: ReproductionRecord, now: ReproductionRecord) -> Tier:
    told, got = recorded.evaluation, now.evaluation
    same_weights = recorded.fit.weight_sha256 == now.fit.weight_sha256
    if same_weights and told.logits_sha256 == got.logits_sha256:
        return Tier.BITS
    if told.labels_sha256 == got.labels_sha256:
        return Tier.LABELS
    if told.accuracy_band.holds(got.accuracy) and told.macro_f1_band.holds(got.macro_f1):
        return Tier.METRICS
    return Tier.NONE


def _losses(recorded: Sequence[float], losses: Sequence[float]) -> Iterator[Difference]:
    """Yield the first step whose loss differs."""
    for step, (told, got) in enumerate(zip(recorded, losses, strict=False), start=1):
        if told != got and not (math.isnan(told) and math.isnan(got)):
            yield Difference(step="loss", what=f"step {step}", recorded=repr(told), now=repr(got))
            return
    if len(recorded) != len(losses):
        yield Difference(
            step="loss", what="steps", recorded=str(len(recorded)), now=str(len(losses))
        )


def _of(step: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    told, got = dict(_flat(recorded)), dict(_flat(now))
    return [
        Difference(
            step=step,
            what=name,
            recorded=str(told.get(name, "nothing")),
            now=str(got.get(name, "nothing")),
        )
        for name in [*told, *(name for name in got if name not in told)]
        if told.get(name) != got.get(name) and name not in _NOT_COMPARED
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested values, by dotted name."""
    for name, value in values.items():
        nested = value.model_dump() if isinstance(value, BaseModel) else value
        if isinstance(nested, Mapping):
            yield from _flat(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", nested


class ComparisonDocument(_Part):
    """A comparison for programs, with both records."""

    model: str
    version: str
    tier: Tier
    first_difference: Difference | None
    differences: tuple[Difference, ...]
    recorded: ReproductionRecord
    now: ReproductionRecord
