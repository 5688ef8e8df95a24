from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from shared.errors import StateError
from shared.manifest import read_manifest
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.training.conftest import MENTIONS
from tests.training.sample import MAX_LENGTH, sample_task, task_text
from training_pipeline.bootstrap import training_pipeline
from training_pipeline.cli import build_parser
from training_pipeline.commands.train import train as train_once
from training_pipeline.encoder import load_tokenizer
from training_pipeline.evaluation.champion import ChampionPackage
from training_pipeline.onnx_model import OnnxModel
from training_pipeline.progress import STAGES, Silent
from training_pipeline.registry import Candidate, MlflowRegistry, PastVersion, Registered
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

pytestmark = pytest.mark.usefixtures("one_core")


def train(home: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with this home."""
    environment = {**os.environ, "FTI_HOME": str(home), **settings}
    command = [sys.executable, "-m", "training_pipeline", "train", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_run_that_passes(filled_home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """A passing run exits 0, tells its progress in order, and leaves result and version."""
    (tmp_path / "task.toml").write_text(task_text(tiny_encoder))
    options = ["--task", str(tmp_path / "task.toml"), "--result", str(tmp_path / "result.json")]
    done = train(filled_home, *options, "--progress", "json", "--reason", "first")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == list(STAGES)
    progress = [line["progress"] for line in lines]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["gate"]["passed"], result["gate"]["reasons"]) == (True, [])
    assert result["rows"] == {"labelled": MENTIONS, "folded": 0, "train": 90, "holdout": 30}
    assert not list((filled_home / "training" / "making").iterdir())


ASKED_TO_STOP = """
import runpy, signal, sys
from mlflow import MlflowClient

log_artifacts = MlflowClient.log_artifacts

def asked_to_stop(*given):
    signal.raise_signal(signal.{name})
    log_artifacts(*given)

MlflowClient.log_artifacts = asked_to_stop
runpy.run_module("training_pipeline", run_name="__main__")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_registration_is_completed(
    filled_home: Path, tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    """Asked to stop in its middle: the version is there, so is the result, and it exits 0."""
    (tmp_path / "task.toml").write_text(task_text(tiny_encoder))
    command = [sys.executable, "-c", ASKED_TO_STOP.format(name=name), "train"]
    command += ["--task", str(tmp_path / "task.toml"), "--result", str(tmp_path / "result.json")]
    environment = {**os.environ, "FTI_HOME": str(filled_home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    client = MlflowClient(tracking_uri=tracking_uri(Places.embedded(filled_home)))
    version = client.get_model_version_by_alias("flights", "champion")
    assert (str(version.version), version.run_id) == (result["version"], result["run_id"])


HOLDS = """
import sys, time
from pathlib import Path
from shared.file_lock import hold_file
with hold_file(Path(sys.argv[1]), place="", remedy=""):
    print("held", flush=True)
    time.sleep(3600)
"""


def test_a_former_process_that_stands_still_is_not_waited_for_without_end(
    filled_home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """Who goes on with a run says that it waits, for whom, and ends with what may pass."""
    (tmp_path / "task.toml").write_text(task_text(tiny_encoder))
    lock = filled_home / "training" / "runs" / "frozen" / "checkpoints" / "in-use.lock"
    former = subprocess.Popen([sys.executable, "-c", HOLDS, str(lock)], stdout=subprocess.PIPE)
    with former:
        assert former.stdout is not None
        assert former.stdout.readline() == b"held\n"
        former.send_signal(signal.SIGSTOP)
        options = ["--task", str(tmp_path / "task.toml"), "--run-id", "frozen"]
        done = train(filled_home, *options, "--progress", "json", FTI_TRAINING_GRACE_SECONDS="0.5")
        former.kill()
    assert done.returncode == 1
    waits, ends = (json.loads(line) for line in done.stdout.splitlines())
    assert waits == {"stage": "wait", "progress": 0.0}
    assert ends["passing"] is True
    assert f"a process that does, process {former.pid} on " in ends["error"]["found"]
    assert "waits for a process" in done.stderr
    assert f"process {former.pid} on " in done.stderr


class KeepsTheFolder:
    """A registry that looks at a candidate's folder while it is there."""

    def __init__(self, home: Path, copy: Path) -> None:
        self._registry = MlflowRegistry(
            tracking_uri(Places.embedded(home)), Places.embedded(home).mlflow_artifacts
        )
        self._copy = copy

    def check(self) -> None:
        """Ask the registry."""
        self._registry.check()

    def fetch_champion(self, name: str, folder: Path) -> ChampionPackage | None:
        """Ask the registry."""
        return self._registry.fetch_champion(name, folder)

    def history(self, name: str) -> Sequence[PastVersion]:
        """Ask the registry."""
        return self._registry.history(name)

    def register(self, candidate: Candidate) -> Registered:
        """Copy the folder, then register."""
        shutil.copytree(candidate.folder, self._copy, dirs_exist_ok=True)
        return self._registry.register(candidate)


def test_a_run_that_fails_its_gate(
    filled_home: Path, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed gate exits 3 and says why in words; the version is kept for people to look at."""
    (tmp_path / "task.toml").write_text(task_text(tiny_encoder, min_gain=0.9))
    options = build_parser().parse_args(["train", "--task", str(tmp_path / "task.toml")])
    assert train_once(options, TrainingSettings(home=filled_home, training_allow_dirty=True)) == 3
    told = capsys.readouterr().out
    assert "Gate failed: the champion stays." in told
    assert "gain over baseline (fp32): wanted more than 0.9000" in told


def test_the_package_is_what_serving_needs(
    filled_home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """The files of a version fit their manifest, and the golden input has its known answer."""
    task = sample_task(tiny_encoder)
    making, copy = tmp_path / "making", tmp_path / "copy"
    making.mkdir()
    copy.mkdir()
    pipeline = training_pipeline(TrainingSettings(home=filled_home))
    pipeline = type(pipeline)(pipeline.source, KeepsTheFolder(filled_home, copy))
    result = pipeline.run(task, folder=making, progress=Silent(), reason="a test")
    manifest = read_manifest(copy)
    assert manifest.labels == task.labels
    assert manifest.features == [
        f"{view}__{name}"
        for view in ("subject_activity", "source_activity")
        for name in ("mentions_24h", "share_negative_24h")
    ]
    model = OnnxModel(
        copy / "model.onnx",
        load_tokenizer(tiny_encoder, MAX_LENGTH),
        max_length=manifest.max_length,
    )
    unknown = np.full((1, 4), np.nan, dtype=np.float32)
    logits = model.logits([manifest.golden.text], unknown)[0]
    np.testing.assert_allclose(logits, manifest.golden.logits, atol=manifest.golden.tolerance)
    small = manifest.variants["int8"]
    assert small.label_agreement == result.metrics["int8_agreement"]
    assert small.max_logit_difference == result.metrics["int8_max_logit_difference"]
    assert small.accepted == (not any("int8 is withheld" in note for note in result.gate.notes))
    record = json.loads((copy / "repro.json").read_text())
    assert record["format"] == 2
    assert record["dataset"]["sha256"] == result.dataset_sha256
    assert record["task"]["training"]["max_length"] == MAX_LENGTH


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--task", "no/such.toml"], 1, "expected a task file, found no such file"),
        (["--no-such-option"], 2, "unrecognized arguments"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    options: list[str], code: int, message: str, tmp_path: Path
) -> None:
    """A wrong file exits 1, a wrong option 2, each with one plain message on stderr."""
    done = train(tmp_path, *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_goes_on(
    filled_home: Path, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM saves and exits 130; other settings are refused; the same command ends the run."""
    task, other = tmp_path / "task.toml", tmp_path / "other.toml"
    task.write_text(task_text(tiny_encoder, epochs=60))
    other.write_text(task_text(tiny_encoder, epochs=60, seed=8))
    command = [sys.executable, "-m", "training_pipeline", "train", "--progress", "json"]
    process = subprocess.Popen(
        [*command, "--task", str(task)],
        env={
            **os.environ,
            "FTI_HOME": str(filled_home),
            # However slow the machine: only the signal saves.
            "FTI_TRAINING_CHECKPOINT_SECONDS": "3600",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "loss" in line:
            process.terminate()
            break
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert re.search(r"interrupted after step \d+ of 360, which is saved: the same command", said)
    checkpoints = filled_home / "training" / "checkpoints" / "flights"
    assert len(list(checkpoints.glob("*.pt"))) == 1

    settings = TrainingSettings(home=filled_home, training_allow_dirty=True)
    with pytest.raises(StateError, match=r"found training\.seed 7, not 8; .* Give --fresh"):
        train_once(build_parser().parse_args(["train", "--task", str(other)]), settings)
    stop = StopRequest()
    stop.asked = True
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after step \d+ of 360"):
        train_once(build_parser().parse_args(["train", "--task", str(task)]), settings, stop)
    again = ["train", "--task", str(task), "--progress", "json"]
    assert train_once(build_parser().parse_args(again), settings) == 0
    progress = [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")
    ]
    assert 0 < sum("loss" in line for line in progress) < 360 - 2
    assert not list(checkpoints.glob("*.pt"))
