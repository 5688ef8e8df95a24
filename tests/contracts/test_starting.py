"""Commands that are interrupted in their first seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def importing(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process has loaded a compiled module of a library."""
    maps = Path("/proc", str(process.pid), "maps")
    return any("site-packages" in line for line in maps.read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at what is loaded in /proc")
@pytest.mark.parametrize(
    "command",
    [
        ("feature_pipeline", "consistency"),
        ("training_pipeline", "train"),
        ("inference_pipeline", "serve"),
        ("demo",),
    ],
    ids=lambda command: str(command[0]),
)
def test_ctrl_c_while_it_imports(command: tuple[str, ...], tmp_path: Path) -> None:
    """It ends at once, without a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={"FTI_HOME": str(tmp_path), "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not importing(process):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode in {-signal.SIGINT, 130}
    assert "Traceback" not in told
