"""What was found: the tables for people, and the ratios."""

from __future__ import annotations

from benchmarks.features.benchmark import Found, Step
from benchmarks.report import duration, gibibytes, text_table

RATIO_SIZE = 1_000_000
"""The size of which the ratios speak, if it was run; else the largest."""


def tables(found: Found) -> list[str]:
    """Return the backfills, the stream and its ceilings as tables."""
    return [
        text_table(
            ("mentions", "step", "time", "mentions/s", "peak", "outcome"), map(_line, found.steps)
        ),
        text_table(
            ("stream", "per second"),
            [
                ("one worker, Redis Streams to Redis and Delta", f"{found.backlog.rate:,.0f}"),
                ("bare Bytewax stateful_batch, items", f"{found.bytewax_rate:,.0f}"),
                ("bare Redis pipeline, HSET of a row", f"{found.redis_rate:,.0f}"),
            ],
        ),
        f"The worker's peak: {gibibytes(found.backlog.peak_bytes)}",
        (
            f"POST to online read at {found.freshness.posted_per_second:,.0f} mentions/s:"
            f" p50 {found.freshness.p50_ms:.0f} ms, p99 {found.freshness.p99_ms:.0f} ms"
            f" ({found.freshness.probes} probes)"
        ),
    ]


def ratios(found: Found) -> dict[str, float | None]:
    """Return the figures that the aims are about, and those over their ceilings."""
    sizes = [step.mentions for step in found.steps]
    size = RATIO_SIZE if RATIO_SIZE in sizes else max(sizes)
    rates = {step.name: step.rate for step in found.steps if step.mentions == size}
    delta, ceiling, command, texts = map(rates.get, ("delta", "arithmetic", "command", "texts"))
    return {
        "mentions": size,
        "backfill_per_s": None if delta is None else round(delta),
        "of_arithmetic": delta / ceiling if delta and ceiling else None,
        "command_per_s": None if command is None else round(command),
        "text_per_s": None if texts is None else round(texts),
        "stream_per_s": round(found.backlog.rate),
        "of_bytewax": found.backlog.rate / found.bytewax_rate,
        "of_redis": found.backlog.rate / found.redis_rate,
        "fresh_p50_ms": round(found.freshness.p50_ms),
        "fresh_p99_ms": round(found.freshness.p99_ms),
    }


def _line(step: Step) -> tuple[str, ...]:
    rate = step.rate
    return (
        f"{step.mentions:,}",
        step.name,
        "" if step.seconds is None else duration(step.seconds),
        "" if rate is None else f"{rate:,.0f}",
        gibibytes(step.peak_bytes),
        step.outcome,
    )
