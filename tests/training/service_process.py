"""The training service as processes of its own, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from training_pipeline.service.runs.sql import SqlRunStore

START_SECONDS, END_SECONDS = 90.0, 60.0

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float) -> T:
    """Return what ``look`` finds, as soon as it finds something; raise TimeoutError if too late."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"nothing was found in {seconds} s")


@dataclass
class TrainingSystem:
    """An API on a free port and any number of workers, in one home."""

    home: Path
    task_file: Path
    settings: dict[str, str] = field(default_factory=dict)
    """More variables of the environment."""

    def __post_init__(self) -> None:
        """Take a free port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # Connections are left before the service closes them, which it does after five seconds.
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=30,
            limits=httpx.Limits(keepalive_expiry=1),
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start with no process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.http.close()
        self._stack.close()

    def start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        """Start ``serve``, ``work`` or ``beat``; it is ended with the system."""
        environment = {
            **os.environ,
            "FTI_HOME": str(self.home),
            "FTI_TASK": str(self.task_file),
            "FTI_TRAINING_PORT": str(self.port),
            "FTI_TRAINING_WARM": "false",
            "FTI_TRAINING_LEASE_SECONDS": "5",
            "FTI_TRAINING_CHECKPOINT_STEPS": "1",
            **self.settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "training_pipeline", command, *options], env=environment
        )
        self._stack.callback(_end, process)
        return process

    def start_api(self) -> subprocess.Popen[bytes]:
        """Start the API and wait until it answers."""
        process = self.start("serve")

        def answers() -> bool | None:
            assert process.poll() is None, "the service ended"
            try:
                return self.http.get("/healthz").is_success or None
            except httpx.TransportError:
                return None

        wait_for(answers, START_SECONDS)
        return process

    def post(self, **asked: Any) -> str:
        """Ask for a run; return its id."""
        answer = self.http.post("/v1/runs", json={"reason": "test", **asked})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as the service tells it."""
        found: dict[str, Any] = self.http.get(f"/v1/runs/{run_id}").raise_for_status().json()
        return found

    def wait_for_state(self, run_id: str, states: set[str], seconds: float) -> dict[str, Any]:
        """Return a run once it is in one of the states."""
        return self.wait_for_run(run_id, lambda run: run["state"] in states, seconds)

    def wait_for_step(self, run_id: str, step: int, seconds: float) -> dict[str, Any]:
        """Return a run that runs once it has taken so many optimiser steps."""
        return self.wait_for_run(
            run_id,
            lambda run: (
                run["state"] == "running"
                and run["stage"] == "fit"
                and run["metrics"].get("step", 0) >= step
            ),
            seconds,
        )

    def wait_for_registration(self, run_id: str, seconds: float) -> None:
        """Return once a run may register, which the run store alone tells."""
        with closing(SqlRunStore(f"sqlite:///{self.home / 'training' / 'runs.db'}")) as runs:

            def begun() -> bool | None:
                run = runs.get(run_id)
                return (run is not None and run.registration_begun) or None

            wait_for(begun, seconds)

    def wait_for_run(
        self, run_id: str, wanted: Callable[[dict[str, Any]], bool], seconds: float
    ) -> dict[str, Any]:
        """Return a run once it is as wanted."""

        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if wanted(run) else None

        try:
            return wait_for(look, seconds)
        except TimeoutError:
            raise TimeoutError(f"the run is still {self.run(run_id)}") from None


def children_of(process_id: int) -> list[int]:
    """Return the process ids of a process's children."""
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


def gone(pids: list[int]) -> bool | None:
    """Return True if none of the processes is there any more."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids) or None


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(how)
    return process.wait(END_SECONDS)


@contextmanager
def training_system(home: Path, task_file: Path, **settings: str) -> Iterator[TrainingSystem]:
    """Give a system whose API answers, without workers."""
    with TrainingSystem(home, task_file, settings) as system:
        system.start_api()
        yield system


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
