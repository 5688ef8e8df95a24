"""What the results say: the table for people, and the ratios."""

from __future__ import annotations

from benchmarks.offline_store.benchmark import Figures, Result
from benchmarks.report import duration, gibibytes, text_table

RATIO_ROWS = 200_000
"""The size of which the ratios speak, if it was run; else the largest."""
HEADER = (
    *("rows", "contender", "ready", "cold", "warm", "peak", "above held", "KiB/row"),
    *("returned", "lost", "wrong", "in order", "outcome"),
)


def table(results: list[Result]) -> str:
    """Return one line for each contender and size."""
    return text_table(HEADER, [_line(result) for result in results])


def ratios(results: list[Result]) -> dict[str, float | None]:
    """Return how this store compares; None where one of the two has no figures.

    ``time`` is of warm joins and ``memory`` of the peak above what was held before a cold one, each
    over those of bare Polars; ``duckdb_speedup`` is of warm joins, on the same Parquet files.
    """
    sizes = {result.rows for result in results}
    rows = RATIO_ROWS if RATIO_ROWS in sizes else max(sizes)
    figures = {
        result.contender.name: result.figures
        for result in results
        if result.rows == rows and result.figures is not None
    }
    bare, ours, delta, duckdb = map(figures.get, ("bare", "parquet", "delta", "duckdb"))
    return {
        "rows": rows,
        "time": _over(ours, bare, "warm_seconds"),
        "cold_time": _over(ours, bare, "cold_seconds"),
        "memory": _over(ours, bare, "above_bytes"),
        "delta_time": _over(delta, bare, "warm_seconds"),
        "delta_memory": _over(delta, bare, "above_bytes"),
        "duckdb_speedup": _over(duckdb, ours, "warm_seconds"),
    }


def _over(one: Figures | None, other: Figures | None, field: str) -> float | None:
    if one is None or other is None or not getattr(other, field):
        return None
    ratio: float = getattr(one, field) / getattr(other, field)
    return ratio


def _line(result: Result) -> list[str]:
    begin = [f"{result.rows:,}", result.contender.title]
    if result.figures is None:
        return [*begin, *[""] * (len(HEADER) - 3), result.outcome]
    figures, verdict = result.figures, result.figures.verdict
    return [
        *begin,
        duration(figures.ready_seconds),
        duration(figures.cold_seconds),
        f"{duration(figures.warm_seconds)} ({figures.repeats})",
        gibibytes(figures.peak_bytes),
        gibibytes(figures.above_bytes),
        f"{figures.above_bytes / 1024 / result.rows:.2f}",
        f"{verdict.returned:,}",
        f"{verdict.lost:,}",
        f"{verdict.wrong:,}",
        "yes" if verdict.in_order else "no",
        result.outcome,
    ]
