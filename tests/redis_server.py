"""A Redis server as a process of its own, which tests may kill."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

BINARY = shutil.which("redis-server")
_START_SECONDS = 20.0


class RedisServer:
    """Keeps what was written in a log below a folder: killed and started, it has it again.

    Attributes:
        port: free when the server was made; it keeps it when it is started again.
    """

    def __init__(self, folder: Path, *, password: str = "") -> None:
        self._folder = folder
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]

    @property
    def address(self) -> str:
        """As the setting FTI_ONLINE_STORE takes it."""
        credentials = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        assert BINARY is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "requirepass": self._password,
            "logfile": "redis.log",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([BINARY, *flags])
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            log = (self._folder / "redis.log").read_text() if self._process.poll() else ""
            assert self._process.poll() is None, log
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        """End the process at once, as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) in {b"+PONG", b"-NOAU"}
        except OSError:
            return False
