"""The gate: what a model must show before it may become champion."""

from __future__ import annotations

from dataclasses import dataclass

from shared.task import Gate


@dataclass(frozen=True)
class Measured:
    """What the gate looks at, all on held-out rows."""

    accuracy: float
    """Of the exported file."""
    baseline_accuracy: float
    onnx_agreement: float
    """Share of labels on which the exported file agrees with torch."""


@dataclass(frozen=True)
class Verdict:
    """Whether a model passed; if not, one reason per failed rule."""

    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return not self.reasons


def judge(rules: Gate, measured: Measured) -> Verdict:
    """Hold measurements against the rules of the task's gate.

    A measurement that is not a number passes no rule.

    >>> judge(Gate(), Measured(accuracy=0.7, baseline_accuracy=0.75, onnx_agreement=1.0)).reasons
    ('gain over baseline: wanted more than 0.0000, got -0.0500 (0.7000 against 0.7500)',)
    """
    reasons = []
    gain = measured.accuracy - measured.baseline_accuracy
    if not gain > rules.min_gain_over_baseline:
        reasons.append(
            f"gain over baseline: wanted more than {rules.min_gain_over_baseline:.4f}, "
            f"got {gain:.4f} ({measured.accuracy:.4f} against {measured.baseline_accuracy:.4f})"
        )
    if not measured.onnx_agreement >= rules.min_onnx_agreement:
        reasons.append(
            f"agreement of ONNX with torch: wanted at least {rules.min_onnx_agreement:.4f}, "
            f"got {measured.onnx_agreement:.4f}"
        )
    return Verdict(reasons=tuple(reasons))
