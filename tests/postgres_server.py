"""A Postgres server as a process of its own, which tests may stop."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DEBIAN = Path("/usr/lib/postgresql")
_OTHER_USERS = ("postgres", "nobody")
"""Postgres refuses to run as root."""


def _binaries() -> Path | None:
    """Return the folder of Postgres' programs, of the newest version that is installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class PostgresServer:
    """Keeps its data in a folder: stopped and started, it has it again."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = _user()
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--username=fti", "--no-sync", "-D", "data")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", options)

    def stop(self) -> None:
        """Stop the server at once, as a crash does."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", "data")

    def database(self) -> str:
        """Return the address of a database of its own."""
        name = f"fti_{uuid.uuid4().hex}"
        port = str(self._port)
        self._run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "fti", name)
        return f"postgresql+psycopg://fti@127.0.0.1:{port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self._folder,
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, program


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a Postgres server; the test is skipped where there is none."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("Postgres is not installed (Debian: apt-get install postgresql)")
    # Not below pytest's folders, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="fti-postgres-") as folder:
        server = PostgresServer(binaries, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in _OTHER_USERS if name in known), None)
