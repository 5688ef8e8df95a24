"""A stream worker as a process, for tests that talk to a real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_TASK = """
name = "reviews"
labels = ["bad", "good"]
[input]
format = "csv"
columns = { text = "text", published_at = "date" }
[activity.windows]
"4s" = "1s"
"1h" = "1m"
[training]
base = "none"
"""
_SECONDS = 60.0


@contextmanager
def stream_worker(home: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a stream worker of a home until the context ends; it is asked to stop then."""
    home.mkdir(parents=True, exist_ok=True)
    task = home.parent / "reviews.toml"
    task.write_text(_TASK)
    environment = {
        **{name: value for name, value in os.environ.items() if name[:4] != "FTI_"},
        "FTI_HOME": str(home),
        "FTI_TASK": str(task),
        "FTI_FEATURES_EPOCH_SECONDS": "0.2",
        **settings,
    }
    with (home.parent / "stream.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "feature_pipeline", "stream"],
            env=environment,
            stderr=log,
            stdout=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def until(condition: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Tell whether a page answers with success."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
