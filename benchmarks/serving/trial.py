"""All servers with one model file and one kind of text, each beside the ceiling of its moment.

The ceiling is measured again beside every server: on a machine that others use too, a figure of
minutes ago says little.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import Report
from benchmarks.errors import BenchmarkError
from benchmarks.serving.ceiling import Bare, measure_bare
from benchmarks.serving.contenders import CONTENDERS, Contender
from benchmarks.serving.load import put_under, value_at
from benchmarks.serving.materials import FILES, Materials, Variant, read_questions
from benchmarks.serving.plan import Loop, Plan
from benchmarks.serving.result import Point, Result
from benchmarks.serving.server import Server, free_port, post, question_body, running
from benchmarks.serving.texts import Kind


class Trial:
    """All contenders with one model file and one kind of text."""

    def __init__(
        self,
        plan: Plan,
        materials: Materials,
        folder: Path,
        *,
        variant: Variant,
        kind: Kind,
        report: Report,
    ) -> None:
        self._plan = plan
        self._materials = materials
        self._folder = folder
        self._variant = variant
        self._kind = kind
        self._report = report
        self._question = read_questions(materials.questions(kind))[0]

    def run(self) -> list[Result]:
        """Measure the ceiling, then each server in turn with the ceiling after it."""
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
            bare = before.mean(after)
            before = after
            results.append(
                Result(self._variant, self._kind, contender, outcome, bare, resident, points)
            )
        return results

    def _measure(self, contender: Contender, rates: dict[int, float]) -> tuple[int, list[Point]]:
        port = free_port()
        launch = contender.launch(self._materials, self._variant, port)
        launch.environment.update(self._plan.settings)  # peers read none of them
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
        spec = contender.load(
            self._materials,
            self._variant,
            self._kind,
            port=server.port,
            connections=connections,
            rate=rate,
            seconds=self._plan.seconds,
            warm_up_seconds=self._plan.seconds / 3,
            seed=self._plan.recipe.seed,
        )
        before = server.cpu_seconds()
        load = put_under(spec, self._folder)
        cpu = server.cpu_seconds() - before
        busy = spec.warm_up_seconds + load.elapsed_seconds
        return Point(connections, loop, rate, load, cpu / busy)

    def _bare(self) -> Bare:
        return measure_bare(
            self._materials.package,
            FILES[self._variant],
            self._materials.questions(self._kind),
            self._plan.seconds,
            self._folder,
        )

    def _say(self, what: str) -> None:
        self._report(f"{self._variant}, {self._kind} texts: {what}")


def _told(point: Point) -> str:
    load = point.load
    return (
        f"{point.connections} {point.loop}: {load.per_second:.0f}/s, p50 {load.p50_ms:.1f} ms,"
        f" p99 {load.p99_ms:.1f} ms"
    )
