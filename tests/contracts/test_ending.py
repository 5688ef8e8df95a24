"""The end of a command: its exit code is what it says, whatever signal comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LATE = """
import os, signal
from shared.ending import leave

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})

late = Late()
leave(3)
"""
DROPPED = """
import signal
from shared.ending import leave

try:
    exec("signal.raise_signal(signal.SIGINT)")
except KeyboardInterrupt:
    leave(3)
"""


@pytest.mark.parametrize(
    "program",
    [LATE.format(name="SIGTERM"), LATE.format(name="SIGINT"), DROPPED],
    ids=["SIGTERM", "SIGINT", "in an exec"],
)
def test_a_signal_does_not_change_an_exit_code(program: str, tmp_path: Path) -> None:
    """One that comes while the interpreter ends, and one that Python keeps in mind until then."""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "program"]
    path = f"{tmp_path}:{Path.cwd()}"
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    assert done.returncode == 3
