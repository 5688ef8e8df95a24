"""The service's command line as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from tests.inference.conftest import eventually
from tests.inference.registry_files import MODEL

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ServerProcess:
    """A process that serves."""

    process: subprocess.Popen[str]
    port: int
    client: httpx.Client
    log_file: Path

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_file.read_text()

    def open_files(self) -> int:
        """Return how many file handles it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory_bytes(self) -> int:
        """Return its resident memory that no file backs."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024


SERVICE = "inference_pipeline"


def command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Start the service's command line with these settings and no others."""
    return start(SERVICE, arguments, settings, output=subprocess.PIPE)


def start(
    module: str, arguments: Sequence[str], settings: Mapping[str, str], *, output: IO[str] | int
) -> subprocess.Popen[str]:
    """Start a module's command line with settings of the project, and no others of it.

    Args:
        module: what ``python -m`` runs.
        arguments: of the command line.
        settings: by their variable, such as ``FTI_HOME``.
        output: where all it writes goes.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FTI_")}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=inherited | dict(settings),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_to_end(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command and return its exit status and what it wrote."""
    with command(*arguments, **settings) as process:
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Tell whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(home: Path, *, module: str = SERVICE, **settings: str) -> Iterator[ServerProcess]:
    """Run ``serve`` on a free port. It looks at the registry often, if no setting says otherwise.

    Args:
        home: FTI_HOME; the process's log lies there.
        module: what runs the service's command line.
        settings: further variables, such as ``FTI_ONLINE_STORE``.
    """
    port = free_port()
    chosen = {
        "FTI_HOME": str(home),
        "FTI_INFERENCE_MODEL": MODEL,
        "FTI_INFERENCE_POLL_SECONDS": "0.1",
        **settings,
    }
    log_file = home / "server.log"
    # To a file: a pipe that nobody reads fills up, and then the server stands still.
    with log_file.open("w") as log:
        process = start(module, ["serve", "--port", str(port)], chosen, output=log)

    def up() -> bool:
        assert process.poll() is None, log_file.read_text()
        return listens(port)

    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        try:
            eventually(up, bool)
            yield ServerProcess(process, port, client, log_file)
        finally:
            process.kill()
