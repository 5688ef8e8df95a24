"""The time from a request to train to the first step of its fit, through HTTP, by real processes.

Where there is a command ``work``, requests are executed by a worker, which is let come to rest
first: so it has imported what it keeps ready. Otherwise ``serve`` executes them itself, in
a process that it starts for each: that is measured then, and called ``cold``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.features.services import free_port, service, until
from shared.settings import PREFIX
from training_pipeline.progress import STAGES, overall

_START_SECONDS = 120.0
_STEP_SECONDS = 300.0
_QUIET_SECONDS = 2.0
"""A worker is at rest when its processes took no time of a core for so long."""
_TICKS = os.sysconf("SC_CLK_TCK")
_TIME_FIELDS = slice(11, 13)
"""Of /proc/PID/stat after the name: time in the program and in the kernel."""
_FINAL = {"succeeded", "gate_failed", "failed", "interrupted", "cancelled"}
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class FirstStep:
    """What a request waited for."""

    worker: str
    """``warm`` or ``cold``."""
    seconds: float
    """From the request until its first step was seen, within 20 ms and what the service takes to
    tell."""
    load_seconds: float
    """Of them, until the run began to read its rows."""


def time_to_first_step(task: Path, history: Path, folder: Path) -> FirstStep:
    """Fill a feature store, start the services, ask for a run and wait for its first step.

    Raises:
        BenchmarkError: a process did not do its work.
    """
    with TemporaryDirectory(dir=folder, prefix="first-step-") as place, ExitStack() as services:
        home, port = Path(place), free_port()
        settings = {
            f"{PREFIX}HOME": str(home / "fti"),
            f"{PREFIX}TASK": str(task),
            f"{PREFIX}TRAINING_PORT": str(port),
        }
        _backfill(history, settings)
        started = [services.enter_context(service("training_pipeline", "serve", home, settings))]
        warm = _has_worker()
        if warm:
            started.append(
                services.enter_context(service("training_pipeline", "work", home, settings))
            )
        url = f"http://127.0.0.1:{port}"
        until(lambda: _ready(url), "a ready service", _START_SECONDS, *started)
        _wait_for_rest(started)
        return _measure(url, "warm" if warm else "cold", started)


def _measure(url: str, worker: str, started: list[subprocess.Popen[bytes]]) -> FirstStep:
    begin = time.perf_counter()
    run_id = _ask(f"{url}/v1/runs", {"reason": "benchmark"})["run_id"]
    seen: dict[str, float] = {}

    def look() -> bool:
        run = _ask(f"{url}/v1/runs/{run_id}")
        now = time.perf_counter() - begin
        if run["stage"] in STAGES:
            seen.setdefault("load", now)
        if run["state"] in _FINAL and "load" not in seen:
            raise BenchmarkError("run", expected="a first step", found=str(run["error"]))
        if run["progress"] > overall("fit", 0.0):
            seen["step"] = now
        return "step" in seen

    until(look, "the first step of a run", _STEP_SECONDS, *started)
    return FirstStep(worker, seconds=seen["step"], load_seconds=seen["load"])


def _backfill(history: Path, settings: dict[str, str]) -> None:
    command = [sys.executable, "-m", "feature_pipeline", "backfill", "--input", str(history)]
    done = subprocess.run(  # noqa: S603 - this system's own command
        command,
        cwd=_ROOT,
        env=_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError("backfill", expected="exit code 0", found=done.stderr[-500:])


def _has_worker() -> bool:
    """Return whether requests are executed by workers."""
    asked = subprocess.run(
        [sys.executable, "-m", "training_pipeline", "work", "--help"],
        cwd=_ROOT,
        env=_environment({}),
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def _environment(settings: dict[str, str]) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**others, **settings}


def _ready(url: str) -> bool:
    try:
        return bool(_ask(f"{url}/readyz")["ready"])
    except urllib.error.URLError:
        return False


def _ask(url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - this machine's own service
        url, sent, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        told: dict[str, Any] = json.load(answer)
    return told


def _wait_for_rest(started: list[subprocess.Popen[bytes]]) -> None:
    """Wait until the processes, and those that they started, do nothing but wait."""
    rested_since, last = time.monotonic(), -1.0

    def look() -> bool:
        nonlocal rested_since, last
        busy = sum(_core_seconds(process.pid) for process in started)
        if busy - last > 0.02 * _QUIET_SECONDS:
            rested_since, last = time.monotonic(), busy
        return time.monotonic() - rested_since > _QUIET_SECONDS

    until(look, "services at rest", _START_SECONDS, *started)


def _core_seconds(pid: int) -> float:
    """Return the seconds of a core that a process and its descendants have taken."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for each in threads for child in (each / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it ended between two looks
    own = sum(int(ticks) for ticks in stat[_TIME_FIELDS]) / _TICKS
    return own + sum(_core_seconds(int(child)) for child in children)
