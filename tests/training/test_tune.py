"""The search for settings, with a tiny encoder, as real processes where they can be killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from shared.errors import TaskError
from shared.places import Places
from shared.task import Task, load_task
from tests.training.sample import task_text
from tests.training.service_process import wait_for

pytestmark = pytest.mark.usefixtures("one_core")

# The better rate learns the sample within an epoch, the other one learns nothing.
RATES = {"encoder_learning_rate": {"choices": [1e-9, 2e-3]}, "pruner": "none"}
KILL_SECONDS = 120.0


def write_task(
    path: Path,
    base: Path,
    search: Mapping[str, Any],
    *,
    epochs: int = 1,
    weight_decay: float = 0.01,
) -> Path:
    """Write a task file with a search section and return it."""
    lines = [f"weight_decay = {weight_decay}", "[training.search]"]
    lines += [f"{name} = {_toml(value)}" for name, value in search.items()]
    path.write_text(task_text(base, epochs=epochs) + "\n".join(lines))
    return path


def _toml(value: object) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    return f"{{ {', '.join(f'{name} = {json.dumps(each)}' for name, each in value.items())} }}"


@pytest.fixture
def home(filled_home: Path, tmp_path: Path) -> Path:
    """A home of its own, whose feature store holds labelled mentions."""
    copy = tmp_path / "home"
    shutil.copytree(filled_home, copy, ignore=shutil.ignore_patterns("mlflow", "training"))
    return copy


def tune(home: Path, task: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(task, *options), env=environment(home), capture_output=True, text=True, check=False
    )


def command(task: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "training_pipeline", "tune", "--task", str(task), *options]


def environment(home: Path, **settings: str) -> dict[str, str]:
    return {**os.environ, "FTI_HOME": str(home), "COLUMNS": "300", **settings}


def ended(output: str) -> dict[int, str]:
    """Return what the command told of the trials that ended, by number."""
    found = re.findall(r"^trial (\d+) ((?:complete|pruned|failed).*)$", output, re.MULTILINE)
    return {int(number): told for number, told in found}


def begun(output: str) -> list[str]:
    """Return what trials were begun with, in order."""
    return re.findall(r"^trial \d+: .*$", output, re.MULTILINE)


def runs_of(home: Path) -> list[Run]:
    """Return all runs that MLflow has of the task."""
    client = MlflowClient(tracking_uri=Places.embedded(home).mlflow)
    experiment = client.get_experiment_by_name("flights")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_the_better_of_two_settings_is_found(
    home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """The best parameters are a fragment of a task file, and MLflow has a run above the trials."""
    task = write_task(tmp_path / "task.toml", tiny_encoder, RATES)
    done = tune(home, task, "--trials", "5")
    assert done.returncode == 0, done.stderr
    fragment = done.stdout.partition("for the task file:")[2]
    assert tomllib.loads(fragment) == {"training": {"encoder_learning_rate": 2e-3}}
    assert sorted(ended(done.stdout)) == [0, 1, 2, 3, 4]
    assert len(set(begun(done.stdout))) > 1

    runs = runs_of(home)
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.params["sampler"] == "TPESampler"
    losses = {
        run.data.params["encoder_learning_rate"]: run.data.metrics["validation_loss"]
        for run in children
    }
    assert losses["0.002"] == parent.data.metrics["best_value"] == min(losses.values())
    client = MlflowClient(tracking_uri=Places.embedded(home).mlflow)
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"search.html", "best.toml"}

    again = tune(home, task, "--trials", "5")
    assert again.returncode == 0
    assert not begun(again.stdout)


def test_a_killed_search_goes_on(home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """After SIGKILL no trial is repeated, and all comes out as if nothing had happened."""
    search = {
        "encoder_learning_rate": {"min": 1e-4, "max": 1e-2},
        "batch_size": {"choices": [8, 16]},
    }
    task = write_task(tmp_path / "task.toml", tiny_encoder, search)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(home, undisturbed)
    whole = tune(undisturbed, task, "--trials", "4")
    assert whole.returncode == 0, whole.stderr

    with (tmp_path / "first.txt").open("w") as output:
        process = subprocess.Popen(
            command(task, "--trials", "4"),
            env=environment(home, FTI_TRAINING_CHECKPOINT_STEPS="1", PYTHONUNBUFFERED="1"),
            stdout=output,
        )
    checkpoints = home / "training" / "search" / "flights" / "trial-00002"
    wait_for(lambda: next(checkpoints.glob("step-*.pt"), None), KILL_SECONDS)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (tmp_path / "first.txt").read_text()
    assert sorted(ended(first)) == [0, 1]
    assert {run.info.status for run in runs_of(home)} == {"RUNNING", "FINISHED"}

    second = tune(home, task, "--trials", "4")
    assert second.returncode == 0, second.stderr
    assert sorted(ended(second.stdout)) == [2, 3]
    assert begun(first)[:3] + begun(second.stdout)[1:] == begun(whole.stdout)
    assert ended(first) | ended(second.stdout) == ended(whole.stdout)
    assert {run.info.status for run in runs_of(home)} == {"FINISHED"}
    assert len(runs_of(home)) == 5


def test_a_search_that_is_told_to_stop(home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """SIGINT ends it in order, says how to go on, and leaves no run that seems to run."""
    task = write_task(tmp_path / "task.toml", tiny_encoder, RATES, epochs=200)
    process = subprocess.Popen(
        command(task, "--trials", "2"),
        env=environment(home, FTI_TRAINING_CHECKPOINT_STEPS="1"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    checkpoints = home / "training" / "search" / "flights" / "trial-00000"
    wait_for(lambda: next(checkpoints.glob("step-*.pt"), None), KILL_SECONDS)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from what was saved last" in said
    assert {run.info.status for run in runs_of(home)} == {"KILLED"}


def test_trials_that_fail_are_told_with_their_reason(
    home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A setting that the encoder does not allow fails its trials, and the others go on."""
    search = {"max_length": {"choices": [24, 500]}, "pruner": "none"}
    task = write_task(tmp_path / "task.toml", tiny_encoder, search)
    done = tune(home, task, "--trials", "5")
    assert done.returncode == 0, done.stderr
    told = ended(done.stdout)
    failed = [line for line in told.values() if line.startswith("failed")]
    assert 0 < len(failed) < 5
    assert "at most 64, the positions of the base encoder" in failed[0]
    assert f"{len(failed)} failed." in done.stdout
    statuses = [run.info.status for run in runs_of(home)]
    assert statuses.count("FAILED") == len(failed)


def test_a_change_of_the_settings_is_refused(
    home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """Values of other settings cannot be compared: the change is named, and --fresh begins anew."""
    task = write_task(tmp_path / "task.toml", tiny_encoder, RATES)
    assert tune(home, task, "--trials", "1").returncode == 0
    write_task(task, tiny_encoder, RATES, weight_decay=0.5)
    refused = tune(home, task, "--trials", "2")
    assert refused.returncode == 1
    assert "found a change of training.weight_decay. Give --fresh" in refused.stderr
    assert sorted(ended(tune(home, task, "--trials", "1", "--fresh").stdout)) == [0]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"learning_rate": {"min": 1e-5, "max": 1e-3}}, "unlike 'learning_rate'"),
        ({"seed": {"choices": [1, 2]}}, "unlike 'seed'"),
        ({"epochs": {"min": 0, "max": 3}}, "values in epochs that training.epochs can have"),
        ({"batch_size": {"min": 8, "max": 16.5}}, "whole numbers in batch_size"),
        ({"weight_decay": {"min": 0.0, "max": 0.1}}, "a min above 0 in weight_decay"),
        ({"epochs": {"min": 3, "max": 3}}, "min below max"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(
    tmp_path: Path, search: dict[str, Any], words: str
) -> None:
    """An unknown field, or values that training cannot have, are named when the task is read."""
    with pytest.raises(TaskError, match=re.escape(words)) as refusal:
        load_task(write_task(tmp_path / "task.toml", tmp_path, search))
    assert "training.search" in refusal.value.place


def test_a_task_without_a_space_has_one(tmp_path: Path) -> None:
    """What a task does not say is searched in values of all-round use."""
    task: Task = load_task(write_task(tmp_path / "task.toml", tmp_path, {"objective": "accuracy"}))
    assert "encoder_learning_rate" in task.training.search.space
    assert task.training.search.objective == "accuracy"
