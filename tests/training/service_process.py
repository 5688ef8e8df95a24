"""The training service as a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

START_SECONDS, END_SECONDS = 60.0, 30.0

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


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    http: httpx.Client

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as the service tells it."""
        found: dict[str, Any] = self.http.get(f"/v1/runs/{run_id}").raise_for_status().json()
        return found

    def wait_for_state(self, run_id: str, states: set[str], seconds: float) -> dict[str, Any]:
        """Return a run once it is in one of the states."""

        def look() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state"] in states else None

        return wait_for(look, seconds)

    def children(self) -> list[int]:
        """Return the process ids of the service's children."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        return self.process.wait(END_SECONDS)


@contextmanager
def training_service(home: Path, task_file: Path) -> Iterator[Service]:
    """Start the service on a free port and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "FTI_HOME": str(home),
        "FTI_TASK": str(task_file),
        "FTI_TRAINING_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "training_pipeline", "serve"], env=environment
    )
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        service = Service(process=process, http=http)
        try:
            wait_for(lambda: _ready(service), START_SECONDS)
            yield service
        finally:
            if process.poll() is None:
                service.end(signal.SIGTERM)


def _ready(service: Service) -> bool | None:
    if service.process.poll() is not None:
        raise RuntimeError(f"the service ended with exit code {service.process.returncode}")
    try:
        return service.http.get("/readyz").status_code == 200 or None
    except httpx.TransportError:
        return None
