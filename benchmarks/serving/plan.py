"""What the benchmark of serving is to run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.serving.materials import Variant
from benchmarks.serving.recipe import Recipe
from benchmarks.serving.texts import Kind

Loop = Literal["closed", "open"]
LOOPS: tuple[Loop, ...] = ("closed", "open")


@dataclass(frozen=True)
class Plan:
    """Who is measured, with what and how."""

    recipe: Recipe
    materials: Path | None
    """Where what is served lies from an earlier run, or is to be kept for a later one."""
    variants: list[Variant]
    kinds: list[Kind]
    connections: list[int]
    loops: list[Loop]
    contenders: list[str]
    seconds: float
    """Of each measurement, after a warm-up of a third of it."""
    open_share: float
    """Arrivals of an open loop, as a share of the ceiling's throughput: of one loop for one
    connection, of all cores for more."""

    settings: dict[str, str]
    """Of this server, by variable, where not the defaults; the caller's own are not passed on."""

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, without folders of this machine."""
        return {**asdict(self), "recipe": self.recipe.as_dict(), "materials": None}
