"""What the results say: the table for people, and the ratios."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable

from benchmarks.report import gibibytes, text_table
from benchmarks.serving.ceiling import Ceiling
from benchmarks.serving.plan import Loop
from benchmarks.serving.result import Point, Result

Cell = dict[str, Result]

RATIO_CONNECTIONS = 32
_ANSWERED = 0.99
"""Share of the questions whose answers make a p99."""
HEADER = (
    *("file", "texts", "contender", "loop", "conns", "due/s", "answers/s", "of ceiling", "of peer"),
    *("p50 ms", "p95 ms", "p99 ms", "refused", "failed", "wrong", "degraded"),
    *("server cores", "generator", "memory", "outcome"),
)


def table(results: list[Result]) -> str:
    """Return the ceilings and one line for each server under each load."""
    lines: list[list[str]] = []
    for cell in _cells(results):
        for result in cell.values():
            lines += [_ceiling_line(result, ceiling) for ceiling in result.bare.shapes]
            lines += [_line(result, point, cell) for point in result.points]
            if not result.points:
                lines.append(_broken_line(result))
    return text_table(HEADER, lines)


def _cells(results: list[Result]) -> list[Cell]:
    """Return the results of each model file with each kind of text, by contender."""
    return [
        {one.contender.name: one for one in results if (one.variant, one.kind) == cell}
        for cell in sorted({(result.variant, result.kind) for result in results})
    ]


def ratios(results: list[Result]) -> dict[str, float | None]:
    """Return how this server compares; of several cells, the worst.

    A cell is a model file with a kind of text. Throughput is that of closed loops, each over the
    ceiling measured just before and after. None where a cell lacks a figure of this server, or
    where no peer has one: what broke must not make the rest look better.

    - ``ceiling``: throughput at 32 connections over the ceiling; ``generator``: the share of all
      cores that the load generator took meanwhile, in the same cell;
    - ``peers``: how many took part in all cells;
    - ``best_peer``: throughput over the best peer's, at the worst number of connections;
      ``best_peer_unjoined``: that of this server without the join, which peers do not do either;
    - ``best_peer_p99``: the p99 of the best peer over this server's, in the worst open loop;
    - ``join_cost``: what the join adds to the time of a text at 32 connections, as a share;
    - ``added_p50_ms``: p50 at one connection less that of a bare call.
    """
    cells = _cells(results)
    shares = [_of_ceiling(cell.get("joined")) for cell in cells]
    ceiling = _worst(min, shares)
    worst = None if ceiling is None else cells[shares.index(ceiling)]["joined"]
    return {
        "ceiling": ceiling,
        "generator": _generator_share(worst),
        "peers": _peers_in_all(cells),
        "best_peer": _worst(min, _over_peers(cells, "joined")),
        "best_peer_unjoined": _worst(min, _over_peers(cells, "unjoined")),
        "best_peer_p99": _worst(min, _under_peers(cells)),
        "join_cost": _worst(max, map(_join_cost, cells)),
        "added_p50_ms": _worst(max, (_added_p50(cell.get("joined")) for cell in cells)),
    }


def _worst(which: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """Return the worst of the values; None where one is not known."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return which(known) if known else None


def _of_ceiling(result: Result | None, connections: int = RATIO_CONNECTIONS) -> float | None:
    point = None if result is None else result.point("closed", connections)
    if result is None or point is None:
        return None
    return point.load.per_second / result.bare.many.texts_per_second


def _generator_share(result: Result | None) -> float | None:
    point = None if result is None else result.point("closed", RATIO_CONNECTIONS)
    return None if point is None else point.load.generator_cpu / len(os.sched_getaffinity(0))


def _join_cost(cell: Cell) -> float | None:
    joined, unjoined = _of_ceiling(cell.get("joined")), _of_ceiling(cell.get("unjoined"))
    return unjoined / joined - 1 if joined and unjoined is not None else None


def _added_p50(result: Result | None) -> float | None:
    point = None if result is None else result.point("closed", 1)
    return None if result is None or point is None else point.load.p50_ms - result.bare.one.p50_ms


def _over_peers(cells: list[Cell], own: str) -> list[float | None]:
    """Return this server's throughput over the best peer's, in each cell and closed loop."""
    return [
        _over_best_peer(cell.get(own), cell, connections)
        for cell in cells
        for connections in _connections(cells, "closed")
    ]


def _over_best_peer(result: Result | None, cell: Cell, connections: int) -> float | None:
    ours = _of_ceiling(result, connections)
    peers = [_of_ceiling(peer, connections) for peer in _peers(cell)]
    best = max((peer for peer in peers if peer), default=None)
    return None if ours is None or best is None else ours / best


def _under_peers(cells: list[Cell]) -> list[float | None]:
    """Return the best peer's p99 over this server's, in each cell and open loop."""
    found: list[float | None] = []
    for cell in cells:
        for connections in _connections(cells, "open"):
            ours = _p99(cell.get("joined"), connections)
            peers = [_p99(peer, connections) for peer in _peers(cell)]
            best = min((peer for peer in peers if peer is not None), default=None)
            if ours is None or best is None:
                found.append(None)
            else:
                found.append(best / ours if math.isfinite(ours) else 0.0)
    return found


def _p99(result: Result | None, connections: int) -> float | None:
    """Return the p99 in an open loop; a question without an answer waits for ever."""
    point = None if result is None else result.point("open", connections)
    if point is None:
        return None
    load = point.load
    return load.p99_ms if load.answered >= _ANSWERED * load.asked else math.inf


def _connections(cells: list[Cell], loop: Loop) -> list[int]:
    """Return the numbers of connections with which anyone was measured."""
    points = (point for cell in cells for result in cell.values() for point in result.points)
    return sorted({point.connections for point in points if point.loop == loop})


def _peers(cell: Cell) -> list[Result]:
    return [one for one in cell.values() if one.contender.peer]


def _peers_in_all(cells: list[Cell]) -> int:
    taking_part = [{peer.contender.name for peer in _peers(cell) if peer.points} for cell in cells]
    return len(set.intersection(*taking_part)) if taking_part else 0


def _ceiling_line(result: Result, ceiling: Ceiling) -> list[str]:
    shape = f"{ceiling.loops} x {ceiling.threads} threads"
    return [
        *(result.variant, result.kind, f"bare, {shape}", "closed", str(ceiling.loops), ""),
        *(f"{ceiling.texts_per_second:.0f}", "", ""),
        *(f"{ceiling.p50_ms:.1f}", "", f"{ceiling.p99_ms:.1f}"),
        *["", "", "", "", "", "", "", f"beside {result.contender.name}"],
    ]


def _broken_line(result: Result) -> list[str]:
    begin = [result.variant, result.kind, result.contender.title]
    return [*begin, *[""] * (len(HEADER) - 4), result.outcome.splitlines()[0][:60]]


def _line(result: Result, point: Point, cell: Cell) -> list[str]:
    load = point.load
    compared = point.loop == "closed" and not result.contender.peer
    of_peer = _over_best_peer(result, cell, point.connections) if compared else None
    share = load.per_second / result.bare.many.texts_per_second
    return [
        *(result.variant, result.kind, result.contender.title, point.loop),
        str(point.connections),
        "" if point.rate is None else f"{point.rate:.0f}",
        *(f"{load.per_second:.0f}", f"{share:.2f}", "" if of_peer is None else f"{of_peer:.2f}"),
        *(f"{value:.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms)),
        *(f"{value:,}" for value in (load.refused, load.failed, load.wrong, load.degraded)),
        f"{point.server_cpu:.2f}",
        f"{load.generator_cpu:.2f}",
        gibibytes(result.resident_bytes),
        result.outcome,
    ]
