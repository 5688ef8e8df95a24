"""A load on a server: what is asked, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Limits, run_fresh

_LIMITS = Limits(seconds=86_400, memory_bytes=16 * 2**30)


@dataclass(frozen=True)
class LoadSpec:
    """What to ask, whom, and how hard."""

    port: int
    path: str
    fields: list[str]
    """Of a question that go into the request."""
    label_at: list[str | int]
    """Where the label stands in an answer."""
    degraded_at: list[str | int] | None
    """Where an answer says that it was given without features; None if it does not."""
    questions: str
    right: str
    """Which of the right labels holds: see `Question.labels`."""
    connections: int
    rate: float | None
    """Arrivals a second, by Poisson's law, whether or not answers come; None asks again as soon
    as an answer is there."""
    seconds: float
    warm_up_seconds: float
    seed: int
    """Of the arrivals."""


@dataclass(frozen=True)
class Load:
    """What came of it."""

    asked: int
    answered: int
    """With status 200."""
    refused: int
    """With status 429."""
    failed: int
    """With another status, or without any: a connection that broke, an answer that never came."""
    wrong: int
    """Answered with another label than the bare model's, or with none."""
    degraded: int
    """Answered without features."""
    elapsed_seconds: float
    """From the first question to the last answer, of any status; all the time if there is none."""
    per_second: float
    """Answered, over the elapsed time."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    """From when a question was due to its answer, waiting for a connection included; of answered
    ones, and of those that never were, with the time that they had waited by then."""
    generator_cpu: float
    """Cores that the generator took, over the elapsed time."""


def put_under(spec: LoadSpec, folder: Path) -> Load:
    """Put a server under a load by a generator in a process of its own, which works in a folder.

    Raises:
        BenchmarkError: the generator broke.
    """
    file = folder / "load.json"
    file.write_text(json.dumps(asdict(spec)))
    ended = run_fresh("benchmarks.serving.generator", [str(file)], folder, _LIMITS)
    return Load(**ended.answer_of("load generator"))


def value_at(body: bytes, place: Sequence[str | int]) -> object:
    """Return what stands at a place of a JSON document; None if nothing does."""
    try:
        found: Any = json.loads(body)
        for step in place:
            found = found[step]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return found
