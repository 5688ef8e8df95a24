"""What a stage did and what it proved; the closing table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from shared.errors import StateError


@dataclass(frozen=True)
class Outcome:
    """What a stage did and what it proved, in words."""

    did: str
    proved: str


@dataclass(frozen=True)
class Proof:
    """One line of the closing table."""

    stage: str
    outcome: Outcome
    seconds: float


def require(
    holds: bool,  # noqa: FBT001 - the thing to be proved
    *,
    stage: str,
    expected: str,
    found: str,
) -> None:
    """Raise StateError unless what a stage is to prove holds."""
    if not holds:
        raise StateError(f"demo, {stage}", expected=expected, found=found)


def show_proofs(console: Console, proofs: list[Proof]) -> None:
    """Print the closing table."""
    table = Table(title="What was done and proved", title_justify="left", show_lines=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("did")
    table.add_column("proved")
    table.add_column("s", justify="right")
    for proof in proofs:
        outcome = proof.outcome
        table.add_row(proof.stage, outcome.did, outcome.proved, f"{proof.seconds:.0f}")
    console.print(table)
