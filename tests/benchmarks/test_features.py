"""The benchmark of the feature pipeline, run tiny, with real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = "--sizes 500 --backlog 300 --rate 100 --seconds 1"


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_every_part_is_measured(tmp_path: Path) -> None:
    """Backfill, stream and freshness are done, and the last line has a figure for each."""
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.features", "--output", str(output)]
    done = subprocess.run(
        [*command, *OPTIONS.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_bytes())["results"]
    assert [step["outcome"] for step in found["steps"]] == ["done"] * 5
    assert found["backlog"]["mentions"] == 300
    assert found["freshness"]["probes"] == 10
    last = done.stdout.splitlines()[-1]
    assert last.startswith("RATIO mentions=500 ")
    assert "n/a" not in last
