"""The ceiling: tokenisation and onnxruntime in bare loops, in a process of its own.

``python -m benchmarks.serving.ceiling ANSWER PACKAGE ONNX_FILE QUESTIONS SECONDS``
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.measure import Limits, run_fresh
from benchmarks.serving.bare import BareModel
from benchmarks.serving.materials import read_questions

_WARM_UP_SECONDS = 1.0
_LIMITS = Limits(seconds=1800, memory_bytes=16 * 2**30)


@dataclass(frozen=True)
class Ceiling:
    """What bare loops did."""

    loops: int
    """Sessions side by side, each in a thread."""
    threads: int
    """Of each session's forward pass."""
    texts_per_second: float
    p50_ms: float
    p99_ms: float
    """Of one call, tokenisation included."""


@dataclass(frozen=True)
class Bare:
    """The ceiling as measured at one moment."""

    shapes: list[Ceiling]
    """One loop of one thread, one loop with all cores, and a loop of one thread for each core."""

    @property
    def one(self) -> Ceiling:
        """The best for one caller."""
        return min((each for each in self.shapes if each.loops == 1), key=lambda each: each.p50_ms)

    @property
    def many(self) -> Ceiling:
        """The best throughput."""
        return max(self.shapes, key=lambda each: each.texts_per_second)

    def mean(self, other: Bare) -> Bare:
        """Return the means of two moments, shape by shape."""
        return Bare(
            [_mean(one, another) for one, another in zip(self.shapes, other.shapes, strict=True)]
        )


def measure_bare(package: Path, file: str, questions: Path, seconds: float, folder: Path) -> Bare:
    """Measure the ceiling on this machine, in a process that works in a folder.

    Raises:
        BenchmarkError: a loop broke.
    """
    arguments = [str(package), file, str(questions), str(seconds)]
    ended = run_fresh("benchmarks.serving.ceiling", arguments, folder, _LIMITS)
    shapes = ended.answer_of("bare loops")["shapes"]
    return Bare([Ceiling(**shape) for shape in shapes])


def run_loops(
    package: Path, file: str, texts: list[str], *, seconds: float, loops: int, threads: int
) -> Ceiling:
    """Answer texts in turn, one after the other in each loop."""
    models = [BareModel(package, file, threads=threads) for _ in range(loops)]
    _answer(models, texts, min(_WARM_UP_SECONDS, seconds))
    begin = time.perf_counter()
    taken = _answer(models, texts, seconds)
    elapsed = time.perf_counter() - begin
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return Ceiling(loops, threads, len(taken) / elapsed, float(p50), float(p99))


def _mean(one: Ceiling, other: Ceiling) -> Ceiling:
    return Ceiling(
        loops=one.loops,
        threads=one.threads,
        texts_per_second=mean([one.texts_per_second, other.texts_per_second]),
        p50_ms=mean([one.p50_ms, other.p50_ms]),
        p99_ms=mean([one.p99_ms, other.p99_ms]),
    )


def _answer(models: list[BareModel], texts: list[str], seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    taken: list[list[float]] = [[] for _ in models]

    def loop(place: int) -> None:
        row = place
        begin = time.perf_counter()
        while begin < end:
            models[place].predict(texts[row % len(texts)])
            now = time.perf_counter()
            taken[place].append(now - begin)
            begin = now
            row += len(models)

    threads = [threading.Thread(target=loop, args=(place,)) for place in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [each for one in taken for each in one]


def main() -> None:
    """Run the loops and write what they did as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.ceiling")
    parser.add_argument("answer", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("file")
    parser.add_argument("questions", type=Path)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    texts = [question.text for question in read_questions(options.questions)]
    cores = len(os.sched_getaffinity(0))
    shapes = [
        run_loops(
            options.package,
            options.file,
            texts,
            seconds=options.seconds,
            loops=loops,
            threads=threads,
        )
        for loops, threads in sorted({(1, 1), (1, cores), (cores, 1)})
    ]
    options.answer.write_text(json.dumps(asdict(Bare(shapes))))


if __name__ == "__main__":
    main()
