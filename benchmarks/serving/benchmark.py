"""The run: for each model file and kind of text, the ceiling, then each server in turn.

The ceiling is measured again beside every server: on a machine that others use too, a figure of
minutes ago says little.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measure import Limits, run_fresh
from benchmarks.serving.ceiling import Ceiling
from benchmarks.serving.contenders import CONTENDERS, Contender
from benchmarks.serving.load import Load, LoadSpec, value_at
from benchmarks.serving.materials import (
    FILES,
    Materials,
    Question,
    Variant,
    ensure_materials,
    read_questions,
)
from benchmarks.serving.server import Server, free_port, post, question_body, running
from benchmarks.serving.texts import Kind

Loop = Literal["closed", "open"]
MAX_WRONG_SHARE = 0.02
"""Eight bits answer a text in a batch a little differently than alone: near ties may turn."""

_LIMITS = Limits(seconds=1800, memory_bytes=16 * 2**30)


@dataclass(frozen=True)
class Plan:
    """What to run."""

    task: str
    variants: list[Variant]
    kinds: list[Kind]
    connections: list[int]
    loops: list[Loop]
    contenders: list[str]
    seconds: float
    """Of each measurement, after a warm-up of a third of it."""
    open_share: float
    """Arrivals of an open loop, as a share of the ceiling's throughput: of one loop for one
    connection, of all cores for more."""
    texts: int
    seed: int
    max_length: int
    materials: Path | None
    """Where what is served lies from an earlier run, or is to be kept for a later one."""


@dataclass(frozen=True)
class Bare:
    """The ceiling as measured at one moment."""

    one: Ceiling
    """The best for one caller."""
    many: Ceiling
    """The best throughput."""


@dataclass(frozen=True)
class Point:
    """A server under one load."""

    connections: int
    loop: Loop
    rate: float | None
    load: Load
    server_cpu: float
    """Cores that the server's processes took."""


@dataclass(frozen=True)
class Result:
    """A server with one model file and one kind of text."""

    variant: Variant
    kind: Kind
    contender: Contender
    outcome: str
    """``done``, or why it has no figures."""
    bare: Bare | None = None
    """The ceiling, measured just before and just after: the mean of both."""
    resident_bytes: int = 0
    points: list[Point] = field(default_factory=list)

    @property
    def unexpected(self) -> str | None:
        """What went wrong that may not; None for what peers do."""
        if self.contender.peer:
            return None
        if self.outcome != "done":
            return self.outcome
        for point in self.points:
            load = point.load
            if load.failed:
                return f"{load.failed} failed at {point.connections} connections, {point.loop}"
            if load.wrong > MAX_WRONG_SHARE * load.answered:
                return f"{load.wrong} wrong of {load.answered}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**asdict(self), "contender": self.contender.name}


def run_benchmark(plan: Plan, folder: Path, report: Callable[[str], None]) -> list[Result]:
    """Run all contenders; ``report`` hears what goes on."""
    materials = Materials(plan.materials or folder / "materials")
    report("making the models, the feature store and the registry")
    ensure_materials(
        materials, plan.task, count=plan.texts, seed=plan.seed, most=plan.max_length, folder=folder
    )
    results = []
    for variant in plan.variants:
        for kind in plan.kinds:
            trial = _Trial(plan, materials, folder, variant=variant, kind=kind, report=report)
            results += trial.run()
    return results


class _Trial:
    """All contenders with one model file and one kind of text."""

    def __init__(
        self,
        plan: Plan,
        materials: Materials,
        folder: Path,
        *,
        variant: Variant,
        kind: Kind,
        report: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._materials = materials
        self._folder = folder
        self._variant: Variant = variant
        self._kind: Kind = kind
        self._report = report
        self._question: Question = read_questions(materials.questions(kind))[0]

    def run(self) -> list[Result]:
        self._say("the ceiling")
        before = self._bare()
        # One rate for all, so that latencies under it compare.
        rates = {
            connections: self._plan.open_share
            * (before.one if connections == 1 else before.many).texts_per_second
            for connections in self._plan.connections
        }
        results = []
        for name in self._plan.contenders:
            contender = CONTENDERS[name]
            self._say(contender.title)
            points: list[Point] = []
            resident, outcome = 0, f"not installed: {contender.program}"
            if contender.installed:
                try:
                    resident, points = self._measure(contender, rates)
                    outcome = "done"
                except BenchmarkError as error:
                    outcome = f"broke: {error}"
            after = self._bare() if outcome == "done" else before
            bare = _mean(before, after)
            before = after
            results.append(
                Result(self._variant, self._kind, contender, outcome, bare, resident, points)
            )
        return results

    def _measure(self, contender: Contender, rates: dict[int, float]) -> tuple[int, list[Point]]:
        port = free_port()
        launch = contender.launch(self._materials, self._variant, port)
        first = question_body(self._question, contender.fields)
        points = []
        with running(launch, port, self._folder, contender.path, first) as server:
            self._check_variant(contender, port, first)
            for loop in self._plan.loops:
                for connections in self._plan.connections:
                    rate = rates[connections] if loop == "open" else None
                    points.append(self._point(contender, server, connections, loop, rate))
                    self._say(f"{contender.title}: {_told(points[-1])}")
            return server.resident_bytes(), points

    def _check_variant(self, contender: Contender, port: int, question: bytes) -> None:
        """Raise BenchmarkError where the server chose another file: figures would not compare."""
        if contender.variant_at is None:
            return
        answer = post(port, contender.path, question)
        found = None if answer is None else value_at(answer[1], contender.variant_at)
        if found != self._variant:
            raise BenchmarkError(
                contender.title, expected=f"answers of {self._variant}", found=str(found)
            )

    def _point(
        self, contender: Contender, server: Server, connections: int, loop: Loop, rate: float | None
    ) -> Point:
        spec = LoadSpec(
            port=server.port,
            path=contender.path,
            fields=list(contender.fields),
            label_at=list(contender.label_at),
            questions=str(self._materials.questions(self._kind)),
            right=f"{contender.right}.{self._variant}",
            connections=connections,
            rate=rate,
            seconds=self._plan.seconds,
            warm_up_seconds=self._plan.seconds / 3,
            seed=self._plan.seed,
        )
        file = self._folder / "load.json"
        file.write_text(json.dumps(asdict(spec)))
        before = server.cpu_seconds()
        ended = run_fresh("benchmarks.serving.load", [str(file)], self._folder, _LIMITS)
        cpu = server.cpu_seconds() - before
        if ended.how != "done":
            raise BenchmarkError("load generator", expected="an answer", found=ended.last_error)
        load = Load(**ended.answer)
        busy = self._plan.seconds + spec.warm_up_seconds
        return Point(connections, loop, rate, load, cpu / busy)

    def _bare(self) -> Bare:
        cores = len(os.sched_getaffinity(0))
        shapes = {(1, 1), (1, cores), (cores, 1)}
        found = [self._ceiling(loops, threads) for loops, threads in sorted(shapes)]
        return Bare(
            one=min((one for one in found if one.loops == 1), key=lambda one: one.p50_ms),
            many=max(found, key=lambda one: one.texts_per_second),
        )

    def _ceiling(self, loops: int, threads: int) -> Ceiling:
        ended = run_fresh(
            "benchmarks.serving.ceiling",
            [
                str(self._materials.package("joined")),
                FILES[self._variant],
                str(self._materials.questions(self._kind)),
                *map(str, (self._plan.seconds / 2, loops, threads)),
            ],
            self._folder,
            _LIMITS,
        )
        if ended.how != "done":
            raise BenchmarkError("bare loops", expected="figures", found=ended.last_error)
        return Ceiling(**ended.answer)

    def _say(self, what: str) -> None:
        self._report(f"{self._variant}, {self._kind} texts: {what}")


def _told(point: Point) -> str:
    load = point.load
    return (
        f"{point.connections} {point.loop}: {load.per_second:.0f}/s, p50 {load.p50_ms:.1f} ms,"
        f" p99 {load.p99_ms:.1f} ms"
    )


def _mean(before: Bare, after: Bare) -> Bare:
    return Bare(
        *(
            _mean_of([one, other])
            for one, other in ((before.one, after.one), (before.many, after.many))
        )
    )


def _mean_of(found: Sequence[Ceiling]) -> Ceiling:
    return Ceiling(
        loops=found[-1].loops,
        threads=found[-1].threads,
        texts_per_second=statistics.mean(one.texts_per_second for one in found),
        p50_ms=statistics.mean(one.p50_ms for one in found),
        p99_ms=statistics.mean(one.p99_ms for one in found),
    )
