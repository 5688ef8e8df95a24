"""Services as child processes: started, waited for, stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import StateError

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Service:
    """A process to run.

    Attributes:
        arguments: what follows ``python -m``.
        port: the loopback port that it listens on; none for a worker without a face.
    """

    name: str
    arguments: tuple[str, ...]
    port: int | None = None

    @property
    def url(self) -> str:
        """The service's address on this machine."""
        return f"http://127.0.0.1:{self.port}"


class Processes:
    """Runs services while the context lasts; at its end all of them are stopped.

    Each writes to its own file in ``logs``. Should this process be killed, Linux ends them too.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        """Start with no process."""
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything, the last started first."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for _, process in reversed(self._running):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, services: Sequence[Service]) -> None:
        """Start services.

        Raises:
            StateError: a port is taken.
        """
        for service in services:
            _check_port_free(service)
        for service in services:
            with self.log_of(service).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - the project's own modules
                    [sys.executable, "-m", *service.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # a Ctrl-C reaches only us; we stop them in order
                    preexec_fn=_end_with(os.getpid()),  # noqa: PLW1509 - no threads yet
                )
            self._running.append((service, process))

    def wait_until(
        self,
        condition: Callable[[], bool],
        what: str,
        seconds: float,
    ) -> None:
        """Wait for a condition while all processes live.

        Raises:
            StateError: a process ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StateError(
                    what,
                    expected=f"within {seconds:.0f} s",
                    found="not yet",
                    remedy=f"See {self._logs}.",
                )
            time.sleep(_POLL_SECONDS)

    def check_alive(self) -> None:
        """Raise StateError when a process has ended."""
        for service, process in self._running:
            if process.poll() is not None:
                lines = self.log_of(service).read_text(errors="replace").splitlines()
                raise StateError(
                    f"service {service.name}",
                    expected="a running process",
                    found=f"exit code {process.returncode}; its last line: "
                    + (lines[-1][:500] if lines else "none"),
                    remedy=f"See {self.log_of(service)}.",
                )

    def log_of(self, service: Service) -> Path:
        """Return the file that a service's output goes to."""
        return self._logs / f"{service.name}.log"


def answers(url: str) -> bool:
    """Return whether a GET is answered with a status below 400."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
            return bool(response.status < 400)  # noqa: PLR2004 - HTTP's bound of failures
    except (urllib.error.URLError, OSError):
        return False


def _check_port_free(service: Service) -> None:
    if service.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", service.port))
        except OSError as error:
            raise StateError(
                f"service {service.name}, port {service.port}",
                expected="a free port",
                found=str(error.strerror),
                remedy="Stop what runs there, or choose another port: "
                "FTI_FEATURES_PORT, FTI_TRAINING_PORT, FTI_INFERENCE_PORT.",
            ) from error


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a child end when its parent is killed, where the system can do that."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was gone before we could ask
            os._exit(1)

    return arrange
