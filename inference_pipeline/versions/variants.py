"""Which of a version's ONNX files may serve, and which of those is the fastest here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.manifest import Manifest, Variant

FULL_PRECISION = "fp32"

_ROUNDS = 5
_CLEARLY_FASTER = 0.9


@dataclass(frozen=True)
class ParityBounds:
    """How far a variant may be from the model that was trained, as its manifest recorded it."""

    min_label_agreement: float = 0.99
    """Share of held-out rows that get the same label."""
    max_logit_difference: float = 0.5
    """Largest difference of a logit on held-out rows."""

    def allow(self, variant: Variant) -> bool:
        """Tell whether the gate accepted a variant and its recorded parity is good enough here."""
        return (
            variant.accepted
            and variant.label_agreement >= self.min_label_agreement
            and variant.max_logit_difference <= self.max_logit_difference
        )


def servable(manifest: Manifest, bounds: ParityBounds) -> list[str]:
    """Return the variants that may serve by their recorded parity, full precision first.

    Full precision is the file that the gate judged: it needs no other permission.
    """
    others = sorted(
        name
        for name, variant in manifest.variants.items()
        if name != FULL_PRECISION and bounds.allow(variant)
    )
    return [FULL_PRECISION, *others]


def fastest(
    passes: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> str:
    """Return the variant with the fastest forward pass on this machine.

    It is measured, because the gain of eight bits depends on what the processor can do with them:
    on an old one it may be a loss. Variants take turns and the best of several rounds counts, so
    that a server that is busy at the same time disturbs all alike. An earlier variant is kept
    unless a later one is faster by a tenth: the first is the most exact.

    Args:
        passes: a forward pass by variant, the most exact first.
        clock: seconds, from any beginning.
    """
    best = dict.fromkeys(passes, float("inf"))
    for _ in range(_ROUNDS if len(passes) > 1 else 0):
        for name, run in passes.items():
            started = clock()
            run()
            best[name] = min(best[name], clock() - started)
    chosen, *others = passes
    for name in others:
        if best[name] < _CLEARLY_FASTER * best[chosen]:
            chosen = name
    return chosen
