"""What the results say: the table for people, and the ratios."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable

from benchmarks.report import gibibytes, text_table
from benchmarks.serving.ceiling import Ceiling
from benchmarks.serving.plan import Loop
from benchmarks.serving.result import Point, Result

RATIO_CONNECTIONS = 32
_ANSWERED = 0.99
"""Share of the questions whose answers make a p99."""
HEADER = (
    *("file", "texts", "contender", "loop", "conns", "due/s", "answers/s", "of ceiling"),
    *("p50 ms", "p95 ms", "p99 ms", "refused", "failed", "wrong", "degraded"),
    *("server cores", "generator", "memory", "outcome"),
)


def table(results: list[Result]) -> str:
    """Return the ceilings and one line for each server under each load."""
    lines: list[list[str]] = []
    for result in results:
        lines += [_ceiling_line(result, ceiling) for ceiling in result.bare.shapes]
        lines += [_line(result, point) for point in result.points]
        if not result.points:
            begin = [result.variant, result.kind, result.contender.title]
            lines.append([*begin, *[""] * (len(HEADER) - 4), result.outcome.splitlines()[0][:60]])
    return text_table(HEADER, lines)


def ratios(results: list[Result]) -> dict[str, float | None]:
    """Return how this server compares; of several cells, the worst. None where figures lack.

    A cell is a model file with a kind of text. Throughput is that of closed loops, each over the
    ceiling measured just before and after.

    - ``ceiling``: throughput at 32 connections over the ceiling; ``generator``: the share of all
      cores that the load generator took meanwhile, in the same cell;
    - ``best_peer``: throughput over the best peer's, at the worst number of connections;
    - ``best_peer_p99``: the p99 of the best peer over this server's, in the worst open loop;
    - ``join_cost``: what features add to the time that a text takes at 32 connections, as a share;
    - ``added_p50_ms``: p50 at one connection less that of a bare call.
    """
    cells = [
        {one.contender.name: one for one in results if (one.variant, one.kind) == cell}
        for cell in sorted({(result.variant, result.kind) for result in results})
    ]
    own = [cell["joined"] for cell in cells if "joined" in cell]
    worst = min(own, key=lambda one: _or_inf(_of_ceiling(one)), default=None)
    return {
        "ceiling": _of_ceiling(worst),
        "generator": _generator_share(worst),
        "best_peer": _worst(min, (each for cell in cells for each in _over_peers(cell))),
        "best_peer_p99": _worst(min, (each for cell in cells for each in _under_peers(cell))),
        "join_cost": _worst(max, map(_join_cost, cells)),
        "added_p50_ms": _worst(max, map(_added_p50, own)),
    }


def _worst(which: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return which(known) if known else None


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def _of_ceiling(result: Result | None, connections: int = RATIO_CONNECTIONS) -> float | None:
    point = None if result is None else result.point("closed", connections)
    if result is None or point is None:
        return None
    return point.load.per_second / result.bare.many.texts_per_second


def _generator_share(result: Result | None) -> float | None:
    point = None if result is None else result.point("closed", RATIO_CONNECTIONS)
    return None if point is None else point.load.generator_cpu / len(os.sched_getaffinity(0))


def _join_cost(cell: dict[str, Result]) -> float | None:
    joined, plain = _of_ceiling(cell.get("joined")), _of_ceiling(cell.get("plain"))
    return plain / joined - 1 if joined and plain is not None else None


def _added_p50(result: Result) -> float | None:
    point = result.point("closed", 1)
    return None if point is None else point.load.p50_ms - result.bare.one.p50_ms


def _over_peers(cell: dict[str, Result]) -> list[float]:
    """Return this server's throughput over the best peer's, at each number of connections."""
    found = []
    for connections in _connections(cell, "closed"):
        ours = _of_ceiling(cell["joined"], connections)
        peers = [_of_ceiling(peer, connections) for peer in _peers(cell)]
        best = max((peer for peer in peers if peer), default=None)
        if ours is not None and best is not None:
            found.append(ours / best)
    return found


def _under_peers(cell: dict[str, Result]) -> list[float]:
    """Return the best peer's p99 over this server's, in each open loop."""
    found = []
    for connections in _connections(cell, "open"):
        ours = _p99(cell["joined"], connections)
        best = min((_p99(peer, connections) for peer in _peers(cell)), default=math.inf)
        if math.isfinite(best):
            found.append(best / ours)
    return found


def _p99(result: Result, connections: int) -> float:
    """Return the p99 in an open loop; a question without an answer waits for ever."""
    point = result.point("open", connections)
    if point is None or point.load.answered < _ANSWERED * point.load.asked:
        return math.inf
    return point.load.p99_ms


def _connections(cell: dict[str, Result], loop: Loop) -> list[int]:
    points = cell["joined"].points if "joined" in cell else []
    return sorted(point.connections for point in points if point.loop == loop)


def _peers(cell: dict[str, Result]) -> list[Result]:
    return [one for one in cell.values() if one.contender.peer]


def _ceiling_line(result: Result, ceiling: Ceiling) -> list[str]:
    shape = f"{ceiling.loops} x {ceiling.threads} threads"
    return [
        *(result.variant, result.kind, f"bare, {shape}", "closed", str(ceiling.loops), ""),
        *(f"{ceiling.texts_per_second:.0f}", ""),
        *(f"{ceiling.p50_ms:.1f}", "", f"{ceiling.p99_ms:.1f}"),
        *["", "", "", "", "", "", "", f"beside {result.contender.name}"],
    ]


def _line(result: Result, point: Point) -> list[str]:
    load = point.load
    share = load.per_second / result.bare.many.texts_per_second
    return [
        *(result.variant, result.kind, result.contender.title, point.loop),
        str(point.connections),
        "" if point.rate is None else f"{point.rate:.0f}",
        *(f"{load.per_second:.0f}", f"{share:.2f}"),
        *(f"{value:.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms)),
        *(f"{value:,}" for value in (load.refused, load.failed, load.wrong, load.degraded)),
        f"{point.server_cpu:.2f}",
        f"{load.generator_cpu:.2f}",
        gibibytes(result.resident_bytes),
        result.outcome,
    ]
