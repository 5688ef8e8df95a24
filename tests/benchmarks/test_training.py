"""The benchmark of training, run tiny, with real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.training.contender import CONTENDERS, WARM_STEPS, Speed
from benchmarks.training.gpu import Arithmetic
from tests.training.sample import START, task_text, texts_and_labels
from tests.training.tiny_encoder import make_tiny_encoder

ROOT = Path(__file__).parents[2]
ROWS = 200
# Trainer, and with it the benchmark's own requirements, may not be installed.
pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a task with a tiny encoder and a history for it."""
    folder = tmp_path_factory.mktemp("inputs")
    texts, labels = texts_and_labels(ROWS)
    (folder / "task.toml").write_text(task_text(make_tiny_encoder(folder / "base", texts)))
    times = [START.replace(minute=i % 60, hour=i // 60).isoformat() for i in range(ROWS)]
    pl.DataFrame({"text": texts, "label": labels, "at": times}).write_csv(folder / "history.csv")
    return ["--task", str(folder / "task.toml"), "--history", str(folder / "history.csv")]


def test_every_part_is_measured(inputs: list[str], tmp_path: Path) -> None:
    """Every contender learns from the same texts, a request comes to a first step."""
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.training", *inputs, "--output", str(output)]
    command += ["--rows", "160", "--epochs", "1", "--repeats", "1", "--first-steps", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_bytes())["results"]
    trials = found["trials"]
    assert [trial["contender"] for trial in trials if trial["precision"] == "fp32"] == [*CONTENDERS]
    assert {trial["outcome"] for trial in trials} == {"done"}
    assert {trial["speed"]["steps"] for trial in trials} == {10 - WARM_STEPS}
    assert found["first_steps"][0]["seconds"] > found["first_steps"][0]["load_seconds"] > 0
    last = done.stdout.splitlines()[-1]
    assert last.startswith("RATIO tokens_per_s=")
    assert "n/a" not in last


def test_the_share_of_a_peak_counts_what_a_fit_needs() -> None:
    """A fit of known size takes 6 operations a parameter and token, and 12 a pair and width."""
    speed = Speed(
        steps=1,
        seconds=2.0,
        core_seconds=4.0,
        tokens=10,
        padded_tokens=20,
        attended_pairs=50,
        last_loss=0.0,
    )
    model = Arithmetic(matrix_parameters=1_000, layers=2, hidden=8, device="NVIDIA H100 80GB HBM3")
    assert model.operations(speed) == 6 * 1_000 * 10 + 12 * 2 * 8 * 50
    assert model.share_of_peak(speed) == model.operations(speed) / 2.0 / 989e12
    unknown = Arithmetic(matrix_parameters=1_000, layers=2, hidden=8, device="cpu")
    assert unknown.share_of_peak(speed) is None
