"""The processes that the stream needs: Redis, the gateway, the worker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError
from shared.settings import PREFIX

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0
_END_SECONDS = 60.0
_POLL_SECONDS = 0.02


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis server as an event log needs it, each write on disk; give its address.

    Raises:
        BenchmarkError: there is no ``redis-server``, or it does not start.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise BenchmarkError(
            "redis-server", expected="the program", found="none", remedy="Install Redis."
        )
    port = free_port()
    options = f"--bind 127.0.0.1 --port {port} --dir {folder} --save --appendonly yes"
    with _process([binary, *options.split(), "--appendfsync", "always"], folder, {}):
        until(lambda: _listens(port), "an answer of redis-server", _START_SECONDS)
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def feature_service(
    name: str, folder: Path, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m feature_pipeline NAME`` with these settings and no others."""
    with service("feature_pipeline", name, folder, settings) as process:
        yield process


@contextmanager
def service(
    pipeline: str, name: str, folder: Path, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service of a pipeline with these settings and no others."""
    with _process([sys.executable, "-m", pipeline, name], folder, settings) as process:
        yield process


def until(
    condition: Callable[[], bool], what: str, seconds: float, *on: subprocess.Popen[bytes]
) -> None:
    """Wait for a condition that processes bring about.

    Raises:
        BenchmarkError: it did not come in time, or one of the processes ended.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        for process in on:
            if process.poll() is not None:
                raise BenchmarkError(
                    "services", expected=what, found=f"exit status {process.returncode}"
                )
        if time.monotonic() > deadline:
            raise BenchmarkError("services", expected=what, found=f"none within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    """Return the most resident memory of a process so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _process(
    command: list[str], folder: Path, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    said = folder / f"{Path(command[0]).name}-{command[-1]}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this system's own commands
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_ROOT,
            env={**others, **settings},
        )
    try:
        yield process
    except BenchmarkError as error:
        if process.poll() is None:
            raise
        raise BenchmarkError(
            " ".join(command),
            expected="a process that runs until it is told to stop",
            found=f"exit status {process.returncode}",
            remedy=f"It said: {said.read_text(errors='replace')[-500:]}",
        ) from error
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
