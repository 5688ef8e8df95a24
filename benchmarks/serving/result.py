"""What the benchmark of serving found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.serving.ceiling import Bare
from benchmarks.serving.contenders import Contender
from benchmarks.serving.load import Load
from benchmarks.serving.materials import Variant
from benchmarks.serving.plan import Loop
from benchmarks.serving.texts import Kind

MAX_DEGRADED_SHARE = 0.02
"""More, and it is another work that was measured: answers without features."""


@dataclass(frozen=True)
class Point:
    """A server under one load."""

    connections: int
    loop: Loop
    rate: float | None
    load: Load
    server_cpu: float
    """Cores that the server's processes took, from the warm-up to the last answer."""

    @property
    def unexpected(self) -> str | None:
        """What went wrong that may not."""
        load = self.load
        for count, most, what in (
            (load.failed, 0, "failed"),
            (load.wrong, 0, "wrong"),
            (load.degraded, MAX_DEGRADED_SHARE * load.answered, "without features"),
        ):
            if count > most:
                return (
                    f"{count} of {load.asked} {what} at {self.connections} connections, {self.loop}"
                )
        return None


@dataclass(frozen=True)
class Result:
    """A server with one model file and one kind of text."""

    variant: Variant
    kind: Kind
    contender: Contender
    outcome: str
    """``done``, or why it has no figures."""
    bare: Bare
    """The ceiling, measured just before and just after: the mean of both."""
    resident_bytes: int = 0
    points: list[Point] = field(default_factory=list)

    @property
    def unexpected(self) -> str | None:
        """What went wrong that may not; None for what peers do."""
        if self.contender.peer:
            return None
        if self.outcome != "done":
            return self.outcome
        return next((point.unexpected for point in self.points if point.unexpected), None)

    def point(self, loop: Loop, connections: int) -> Point | None:
        """Return what was found under a load; None where it was not run."""
        found = (
            point for point in self.points if (point.loop, point.connections) == (loop, connections)
        )
        return next(found, None)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**asdict(self), "contender": self.contender.name}
