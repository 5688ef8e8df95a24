"""A server as processes of its own: started, asked until it answers, measured, ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.serving.contenders import Launch
from shared.settings import PREFIX

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0
_END_SECONDS = 40.0
_POLL_SECONDS = 0.2
_SETTLE_SECONDS = 30.0
_QUIET_SECONDS = 0.5
_QUIET_CORES = 0.2
_OK = 200
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """The processes of a server: the one that was started and all that it started."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def cpu_seconds(self) -> float:
        """Return what the processes have used, those that have ended and were waited for too."""
        return sum(sum(map(int, fields[11:15])) for _, fields in self._processes()) / _TICKS

    def resident_bytes(self) -> int:
        """Return their memory, shared pages counted in each."""
        return sum(int(fields[21]) for _, fields in self._processes()) * _PAGE

    def processes(self) -> list[tuple[int, str]]:
        """Return each process with the moment of its start, which tells it from a later one."""
        return [(pid, fields[19]) for pid, fields in self._processes()]

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        """Yield process and fields of its ``stat`` from the third on: man 5 proc."""
        found: dict[int, list[str]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
        for pid, fields in found.items():
            if int(fields[3]) == self.process.pid or self._is_descendant(pid, found):
                yield pid, fields

    def _is_descendant(self, pid: int, found: dict[int, list[str]]) -> bool:
        """Tell whether a process stems from this one; some servers give workers a session."""
        while pid in found and pid != self.process.pid:
            pid = int(found[pid][1])
        return pid == self.process.pid


@contextmanager
def running(launch: Launch, port: int, folder: Path, path: str, body: bytes) -> Iterator[Server]:
    """Start a server, wait until it answers a first question and rests, and end it afterwards.

    Args:
        launch: how it is started; ``{python}`` stands for this interpreter.
        port: on which it listens.
        folder: where it runs and what it says is kept.
        path: where the question goes.
        body: the question.

    Raises:
        BenchmarkError: it ended, or did not answer in time.
    """
    said = folder / "server.log"
    with said.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the contenders' own commands
            [part.format(python=sys.executable) for part in launch.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(launch),
            start_new_session=True,
        )
    server = Server(process, port)
    try:
        _wait(server, path, body, said)
        _settle(server)
        yield server
    finally:
        started = server.processes()
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        _kill(started)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def post(port: int, path: str, body: bytes) -> tuple[int, bytes] | None:
    """Ask once; None where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def question_body(question: object, fields: Sequence[str]) -> bytes:
    """Return the fields of a question as JSON."""
    return json.dumps({name: getattr(question, name) for name in fields}).encode()


def _environment(launch: Launch) -> dict[str, str]:
    """Return the caller's environment without its settings, which may be of another system."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**others, "PYTHONPATH": str(_ROOT), **launch.environment}


def _kill(started: list[tuple[int, str]]) -> None:
    """End those that outlived the process that started them."""
    for pid, moment in started:
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[19] == moment:
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


def _wait(server: Server, path: str, body: bytes, said: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    last: tuple[int, bytes] | None = None
    while server.process.poll() is None and time.monotonic() < deadline:
        last = post(server.port, path, body)
        if last is not None and last[0] == _OK:
            return
        time.sleep(_POLL_SECONDS)
    ended = server.process.poll()
    raise BenchmarkError(
        f"server {' '.join(server.process.args)}",  # type: ignore[arg-type]  # a list was given
        expected=f"an answer within {_START_SECONDS:g} s",
        found=f"exit status {ended}" if ended is not None else f"{last}",
        remedy=f"It said: {said.read_text(errors='replace')[-500:]}",
    )


def _settle(server: Server) -> None:
    """Wait until the server rests: where one worker answers, others may still load the model."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    used = float("inf")
    while used > _QUIET_CORES * _QUIET_SECONDS and time.monotonic() < deadline:
        before = server.cpu_seconds()
        time.sleep(_QUIET_SECONDS)
        used = server.cpu_seconds() - before
