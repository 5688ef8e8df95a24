"""An MLflow server as a process of its own, which tests may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.inference.server_process import free_port

_START_SECONDS = 90.0
"""It imports for long, and more so on a machine that is busy."""
_PLAIN = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class MlflowServer:
    """MLflow on a database and a folder of artefacts, which it hands out itself.

    Attributes:
        address: as the setting FTI_MLFLOW_URI takes it.
    """

    def __init__(self, folder: Path) -> None:
        """Start nothing yet.

        Args:
            folder: of ``mlflow.db``, and of the artefacts.
        """
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self._folder / "served")]
        log_file = self._folder / "server.log"
        with log_file.open("ab") as log:
            self._process = process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | _PLAIN,
                start_new_session=True,  # its workers are killed with it
            )

        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert process.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End the process and its workers at once, as ``kill -9`` does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let all processes stand still: requests are taken and not answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
