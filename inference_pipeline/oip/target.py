"""What a path of the protocol is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """What a path names: a version of a model, a model, or, naming none, all of them."""

    model: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Limits:
    """How much a request may hold."""

    rows: int
    body_bytes: int
    """Also of a body that came compressed."""
