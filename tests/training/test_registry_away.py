"""Training whose MLflow is a server: away at the start, or killed when the model is ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from shared.errors import StateError
from tests.inference.mlflow_server import MlflowServer
from tests.training.sample import fill_feature_store, sample_mentions, task_text
from tests.training.service_process import end, training_system
from training_pipeline.attempt import Attempt
from training_pipeline.cli import main
from training_pipeline.kept import KeptError
from training_pipeline.progress import Silent
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

RUN_SECONDS = 180.0

pytestmark = pytest.mark.usefixtures("one_core")


class KillsTheServer(Silent):
    """Kills a server when a stage begins."""

    def __init__(self, server: MlflowServer, when: str) -> None:
        self._server = server
        self._when = when

    def stage(self, name: str) -> None:
        """Kill it if this is the stage."""
        if name == self._when:
            self._server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    """A server that is not started yet."""
    (tmp_path / "mlflow").mkdir()
    server = MlflowServer(tmp_path / "mlflow")
    yield server
    server.kill()


@pytest.fixture
def settings(
    tmp_path: Path, server: MlflowServer, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingSettings:
    """Settings of a home with data, on the server."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    fill_feature_store(tmp_path, *sample_mentions(120))
    (tmp_path / "task.toml").write_text(task_text(tiny_encoder))
    return TrainingSettings(
        home=tmp_path,
        task=tmp_path / "task.toml",
        mlflow_uri=server.address,
        training_allow_dirty=True,
    )


def command(settings: TrainingSettings, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {
        **os.environ,
        "FTI_HOME": str(settings.home),
        "FTI_TASK": str(settings.task),
        "FTI_MLFLOW_URI": settings.mlflow_uri,
    }
    line = [sys.executable, "-m", "training_pipeline", *options]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def test_a_result_outlives_its_registry(
    settings: TrainingSettings,
    server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Trained, kept, told; registered when the server is back with all that belongs to it."""
    attempt = Attempt(settings.task, "a test", run_id="asked-1")
    with pytest.raises(StateError, match=r"found MlflowException.* run the same command again"):
        attempt.run(settings, progress=Silent(), stop=StopRequest())
    server.start()
    with pytest.raises(KeptError, match="register --kept") as raised:
        attempt.run(settings, progress=KillsTheServer(server, "register"), stop=StopRequest())
    kept = raised.value.folder
    assert kept == settings.training_home / "kept" / "asked-1"
    place = settings.training_home / "runs" / "asked-1"
    assert not list((place / "making").iterdir())
    assert not list((place / "checkpoints").glob("*.pt"))

    again = command(settings, "train", "--run-id", "asked-1", "--progress", "json")
    assert again.returncode == 4, again.stderr
    assert str(kept) in json.loads(again.stdout.splitlines()[-1])["error"]["remedy"]
    monkeypatch.setenv("FTI_HOME", str(settings.home))
    monkeypatch.setenv("FTI_MLFLOW_URI", settings.mlflow_uri)
    assert main(["register", "--all"]) == 4
    assert f"still kept in {kept}" in capsys.readouterr().err

    server.start()
    result_file = settings.home / "results" / "result.json"
    assert main(["register", "--kept", str(kept), "--result", str(result_file)]) == 0
    result = json.loads(result_file.read_text())
    assert (result["version"], result["gate"]["passed"], result["champion"]) == ("1", True, True)
    assert not kept.exists()
    client = MlflowClient(tracking_uri=server.address)
    run = client.get_run(result["run_id"])
    assert run.data.metrics["accuracy"] == result["metrics"]["accuracy"]
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert len(client.get_metric_history(result["run_id"], "loss")) == 6
    names = {file.path for file in client.list_artifacts(result["run_id"])}
    assert names >= {"model", "report.html", "repro.json", "verdict.json"}
    assert main(["register", "--all"]) == 0
    assert main(["register", "--kept", str(kept)]) == 1
    assert "expected a folder with candidate.json, found none" in capsys.readouterr().err


def test_a_requested_run_waits_for_its_registry(
    settings: TrainingSettings, server: MlflowServer, tmp_path: Path
) -> None:
    """Killed in the middle of the fit and back later: no step is taken twice."""
    server.start()
    settings.task.write_text(settings.task.read_text().replace("epochs = 1", "epochs = 10"))
    with training_system(tmp_path, settings.task, FTI_MLFLOW_URI=settings.mlflow_uri) as system:
        system.start("work")
        run_id = system.post()
        system.wait_for_step(run_id, 1, RUN_SECONDS)
        server.kill()
        run = system.wait_for_run(run_id, lambda run: run["delays"] > 0, RUN_SECONDS)
        assert (run["state"], run["error"]["place"]) == ("queued", "model registry")
        server.start()
        run = system.wait_for_state(run_id, {"succeeded", "failed"}, RUN_SECONDS)
        told = system.http.get(f"/v1/runs/{run_id}/events").text
    assert (run["state"], run["error"], run["result"]["version"]) == ("succeeded", None, "1")
    events = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    begun = [number for number, event in enumerate(events) if event.get("state") == "running"]
    assert len(begun) == run["attempts"] > 1
    after = [event for event in events[begun[1] :] if event.get("stage") == "fit"]
    assert not any("step" in event["metrics"] for event in after)


def test_a_registry_that_hangs_holds_no_worker(
    settings: TrainingSettings, server: MlflowServer, tmp_path: Path
) -> None:
    """Its run is not cancelled, since there may be a version; a worker that is to end, ends."""
    server.start()
    variables = {"FTI_MLFLOW_URI": server.address, "FTI_TRAINING_GRACE_SECONDS": "2"}
    with training_system(tmp_path, settings.task, **variables) as system:
        worker = system.start("work")
        run_id = system.post()
        system.wait_for_registration(run_id, RUN_SECONDS)
        server.freeze()
        assert system.http.delete(f"/v1/runs/{run_id}").status_code == 409
        assert end(worker, signal.SIGTERM) == 0
        assert system.run(run_id)["state"] == "queued"
        assert system.http.delete(f"/v1/runs/{run_id}").status_code == 409
        server.thaw()
        system.start("work")
        run = system.wait_for_state(run_id, {"succeeded", "failed"}, RUN_SECONDS)
    assert (run["state"], run["lost_workers"]) == ("succeeded", 0)
    client = MlflowClient(tracking_uri=server.address)
    (version,) = client.search_model_versions("name = 'flights'")
    assert str(version.version) == run["result"]["version"]


def test_a_registry_that_is_away_is_found_before_training(settings: TrainingSettings) -> None:
    """Within seconds, not after the training, with what to do."""
    began = time.monotonic()
    done = command(settings, "train", "--progress", "json")
    assert done.returncode == 1
    assert "model registry: expected an answer, since it will take what is trained" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"stage"' not in done.stdout
    assert time.monotonic() - began < 60
