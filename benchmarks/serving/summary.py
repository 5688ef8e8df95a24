"""What the results say: the table for people, and the ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.report import gibibytes, text_table
from benchmarks.serving.benchmark import Point, Result

RATIO_CONNECTIONS = 32
HEADER = (
    *("file", "texts", "contender", "loop", "conns", "due/s", "answers/s", "of ceiling"),
    *("p50 ms", "p95 ms", "p99 ms", "refused", "failed", "wrong"),
    *("server cores", "generator", "memory", "outcome"),
)


def table(results: list[Result]) -> str:
    """Return the ceilings and one line for each server under each load."""
    lines: list[list[str]] = []
    for result in results:
        if result.bare is not None:
            lines += [_ceiling_line(result, "one"), _ceiling_line(result, "many")]
        lines += [_line(result, point) for point in result.points]
        if not result.points:
            begin = [result.variant, result.kind, result.contender.title]
            lines.append([*begin, *[""] * (len(HEADER) - 4), result.outcome.splitlines()[0][:60]])
    return text_table(HEADER, lines)


def ratios(results: list[Result]) -> dict[str, float | None]:
    """Return how this server compares; of several cells, the worst. None where figures lack.

    ``ceiling`` is throughput at 32 connections, closed, over that of bare loops measured just
    before and after; ``join`` that of the server with features over that without, each over its
    own ceiling; ``over_p50_ms`` what the server adds to the bare call at one connection;
    ``best_peer`` throughput over the best peer's, the worst of all points of closed loops.
    """
    cells = {(result.variant, result.kind) for result in results}
    by_cell = [
        {one.contender.name: one for one in results if (one.variant, one.kind) == cell}
        for cell in sorted(cells)
    ]
    return {
        "ceiling": _worst(min, (_of_ceiling(cell.get("joined")) for cell in by_cell)),
        "ceiling_no_features": _worst(min, (_of_ceiling(cell.get("plain")) for cell in by_cell)),
        "join": _worst(
            min,
            (_over(_of_ceiling(c.get("joined")), _of_ceiling(c.get("plain"))) for c in by_cell),
        ),
        "over_p50_ms": _worst(max, (_added_p50(cell.get("joined")) for cell in by_cell)),
        "best_peer": _worst(min, (each for cell in by_cell for each in _over_peers(cell))),
    }


def ratio_line(values: dict[str, float | None]) -> str:
    """Return the ratios as the last line of the benchmark.

    >>> ratio_line({"ceiling": 0.912, "best_peer": None})
    'RATIO ceiling=0.91 best_peer=n/a'
    """
    texts = (
        f"{name}={'n/a' if value is None else f'{value:.2f}'}" for name, value in values.items()
    )
    return f"RATIO {' '.join(texts)}"


def _worst(which: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return which(known) if known else None


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _closed(result: Result | None, connections: int) -> Point | None:
    if result is None:
        return None
    found = [
        point
        for point in result.points
        if point.loop == "closed" and point.connections == connections
    ]
    return found[0] if found else None


def _of_ceiling(result: Result | None, connections: int = RATIO_CONNECTIONS) -> float | None:
    point = _closed(result, connections)
    if result is None or result.bare is None or point is None:
        return None
    return point.load.per_second / result.bare.many.texts_per_second


def _added_p50(result: Result | None) -> float | None:
    point = _closed(result, 1)
    if result is None or result.bare is None or point is None:
        return None
    return point.load.p50_ms - result.bare.one.p50_ms


def _over_peers(cell: dict[str, Result]) -> list[float | None]:
    """Return, at each number of connections, this server over the best peer, both of ceilings."""
    own = cell.get("joined")
    if own is None:
        return []
    connections = sorted({point.connections for point in own.points})
    peers = [one for one in cell.values() if one.contender.peer]
    best = [
        max((_of_ceiling(peer, number) or 0 for peer in peers), default=None)
        for number in connections
    ]
    return [
        _over(_of_ceiling(own, number), peer)
        for number, peer in zip(connections, best, strict=True)
    ]


def _ceiling_line(result: Result, which: str) -> list[str]:
    assert result.bare is not None  # noqa: S101 - its caller looked
    ceiling = result.bare.one if which == "one" else result.bare.many
    shape = f"{ceiling.loops} x {ceiling.threads} threads"
    return [
        *(result.variant, result.kind, f"bare, {shape}", "closed", str(ceiling.loops), ""),
        *(f"{ceiling.texts_per_second:.0f}", ""),
        *(f"{ceiling.p50_ms:.1f}", "", f"{ceiling.p99_ms:.1f}"),
        *["", "", "", "", "", "", f"beside {result.contender.name}"],
    ]


def _line(result: Result, point: Point) -> list[str]:
    load = point.load
    share = load.per_second / result.bare.many.texts_per_second if result.bare else float("nan")
    return [
        *(result.variant, result.kind, result.contender.title, point.loop),
        str(point.connections),
        "" if point.rate is None else f"{point.rate:.0f}",
        *(f"{load.per_second:.0f}", f"{share:.2f}"),
        *(f"{value:.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms)),
        *(f"{value:,}" for value in (load.refused, load.failed, load.wrong)),
        f"{point.server_cpu:.2f}",
        f"{load.generator_cpu:.2f}",
        gibibytes(result.resident_bytes),
        result.outcome,
    ]
