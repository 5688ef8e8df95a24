"""What was found: the tables for people, and the ratios."""

from __future__ import annotations

import statistics

from benchmarks.report import text_table
from benchmarks.training.benchmark import Found, Trial
from benchmarks.training.contender import CONTENDERS

_OURS, _PLAIN, _GROUPED = CONTENDERS


def tables(found: Found) -> list[str]:
    """Return the contenders, and the times to a first step."""
    header = ("contender", "precision", "tokens/s", "a core-second", "padding", "loss", "outcome")
    told = [text_table(header, map(_line, found.trials))]
    if found.first_steps:
        told.append(
            text_table(
                ("worker", "request to first step", "of it, until rows are read"),
                [
                    (each.worker, f"{each.seconds:.2f} s", f"{each.load_seconds:.2f} s")
                    for each in found.first_steps
                ],
            )
        )
    shares = [
        f"{trial.contender}, {trial.precision}: {share:.1%} of {trial.arithmetic.device}'s peak"
        for trial in found.trials
        if trial.speed and trial.arithmetic
        if (share := trial.arithmetic.share_of_peak(trial.speed)) is not None
    ]
    return [*told, *(shares or ["share of peak FLOP/s, bf16: no GPU"])]


def ratios(found: Found) -> dict[str, float | None]:
    """Return the figures that the aims are about."""
    ours, plain, grouped = (found.rate(contender) for contender in CONTENDERS)
    steps = [each.seconds for each in found.first_steps]
    values: dict[str, float | None] = {
        "tokens_per_s": None if ours is None else round(ours),
        "of_trainer": _over(ours, plain),
        "of_trainer_grouped": _over(ours, grouped),
        "first_step_s": statistics.median(steps) if steps else None,
    }
    if any(trial.precision == "bf16" for trial in found.trials):
        bf16 = found.rate(_OURS, "bf16")
        values["bf16_of_trainer"] = _over(bf16, found.rate(_PLAIN, "bf16"))
        values["bf16_of_trainer_grouped"] = _over(bf16, found.rate(_GROUPED, "bf16"))
    return values


def _over(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours and theirs else None


def _line(trial: Trial) -> tuple[str, ...]:
    if trial.speed is None:
        return (trial.contender, trial.precision, "", "", "", "", trial.outcome)
    padding = 1 - trial.speed.tokens / trial.speed.padded_tokens
    return (
        trial.contender,
        trial.precision,
        f"{trial.speed.tokens / trial.speed.seconds:,.0f}",
        f"{trial.speed.tokens / trial.speed.core_seconds:,.0f}",
        f"{padding:.0%}",
        f"{trial.speed.last_loss:.3f}",
        trial.outcome,
    )
