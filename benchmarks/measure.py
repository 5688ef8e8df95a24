"""What a piece of work costs in time and memory, each time in a fresh process.

A process that has worked keeps memory for what comes next, and its libraries are loaded: two
contenders are comparable only if each starts from nothing. The parent calls ``run_fresh``; the
child measures its steps with ``measured`` and answers with a JSON file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from benchmarks.errors import BenchmarkError

T = TypeVar("T")

_POLL_SECONDS = 0.05
_SELF = Path("/proc/self")
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What a step took."""

    seconds: float
    held_bytes: int
    """Resident memory before the step."""
    peak_bytes: int
    """Most resident memory during the step."""

    @property
    def above_bytes(self) -> int:
        """Most memory beyond what was held before."""
        return self.peak_bytes - self.held_bytes


def measured(step: Callable[[], T]) -> tuple[T, Cost]:
    """Run a step of this process; return its result and its cost.

    Raises:
        BenchmarkError: the kernel does not let the process reset its peak.
    """
    try:
        (_SELF / "clear_refs").write_text("5")  # the peak begins anew: man 5 proc
    except OSError as error:
        raise BenchmarkError(
            "/proc/self/clear_refs",
            expected="a kernel that lets a process reset its peak of memory",
            found=type(error).__name__,
            remedy="Run the benchmark on Linux, outside of a sandbox that hides /proc.",
        ) from error
    held = _memory(_SELF, "VmRSS")
    begin = time.perf_counter()
    result = step()
    seconds = time.perf_counter() - begin
    return result, Cost(seconds, held, _memory(_SELF, "VmHWM"))


@dataclass(frozen=True)
class Limits:
    """What a process may take before it is stopped."""

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Ended:
    """How a fresh process ended."""

    how: Literal["done", "time limit", "memory limit", "broke"]
    answer: dict[str, Any]
    """What the process wrote; empty unless it is done."""
    last_error: str
    """The last exception that it told of, type and message; empty if there is none."""
    seconds: float
    peak_bytes: int
    """Most resident memory, as seen every 50 ms."""

    def answer_of(self, place: str) -> dict[str, Any]:
        """Return the answer of a process that had to be done.

        Raises:
            BenchmarkError: at this place, when it ended otherwise.
        """
        if self.how != "done":
            why = f"{self.how}: {self.last_error}" if self.last_error else self.how
            raise BenchmarkError(place, expected="an answer", found=why)
        return self.answer


def run_fresh(module: str, arguments: list[str], folder: Path, limits: Limits) -> Ended:
    """Run ``python -m module ANSWER_FILE arguments…`` and watch what it takes.

    Args:
        module: writes JSON to the file that its first argument names.
        arguments: the others.
        folder: where it runs, for the answer and for what the process says.
        limits: the process is killed when it passes one.
    """
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    said = folder / "stderr.log"
    command = [sys.executable, "-m", module, str(answer), *arguments]
    begin = time.monotonic()
    with said.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - one of this package's own modules
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd=folder,  # DuckDB spills to where it is started
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        try:
            passed, peak = _watch(process, begin, limits)
        finally:
            process.kill()
            process.wait()
    how: Literal["done", "time limit", "memory limit", "broke"]
    how = passed or ("done" if process.returncode == 0 and answer.is_file() else "broke")
    return Ended(
        how=how,
        answer=json.loads(answer.read_bytes()) if how == "done" else {},
        last_error=_last_error(said),
        seconds=time.monotonic() - begin,
        peak_bytes=peak,
    )


def _watch(
    process: subprocess.Popen[bytes], begin: float, limits: Limits
) -> tuple[Literal["time limit", "memory limit"] | None, int]:
    """Wait until the process ends or passes a limit; return which, and its peak memory."""
    peak = 0
    status = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        peak = max(peak, _memory(status, "VmRSS"))
        if peak > limits.memory_bytes:
            return "memory limit", peak
        if time.monotonic() - begin > limits.seconds:
            return "time limit", peak
        time.sleep(_POLL_SECONDS)
    return None, peak


def _memory(process: Path, field: str) -> int:
    """Return a field of a process's status in bytes; 0 when the process has ended."""
    found = re.search(rf"^{field}:\s+(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _last_error(path: Path) -> str:
    """Return the last line that begins like an exception; a library may say more at its exit."""
    said = path.read_text(errors="replace")
    errors = re.findall(r"^[\w.]*?(\w+(?:Error|Exception)\b.*)", said, re.MULTILINE)
    return errors[-1] if errors else ""
