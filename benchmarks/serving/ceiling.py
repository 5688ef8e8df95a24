"""The ceiling: tokenisation and onnxruntime in bare loops, in a process of its own.

``python -m benchmarks.serving.ceiling ANSWER PACKAGE ONNX_FILE QUESTIONS SECONDS LOOPS THREADS``
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.bare import BareModel
from benchmarks.serving.materials import read_questions

_WARM_UP_SECONDS = 1.0


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
    parser.add_argument("loops", type=int)
    parser.add_argument("threads", type=int)
    options = parser.parse_args()
    ceiling = run_loops(
        options.package,
        options.file,
        [question.text for question in read_questions(options.questions)],
        seconds=options.seconds,
        loops=options.loops,
        threads=options.threads,
    )
    options.answer.write_text(json.dumps(asdict(ceiling)))


if __name__ == "__main__":
    main()
