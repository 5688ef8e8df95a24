"""Workers as processes: whatever ends them or the broker, each run ends once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.model_registry import tracking_uri
from shared.places import Places
from tests.redis_server import RedisServer
from tests.training.conftest import MENTIONS
from tests.training.sample import add_mentions, fill_feature_store, sample_mentions, task_text
from tests.training.service_process import (
    END_SECONDS,
    children_of,
    end,
    gone,
    training_system,
    wait_for,
)
from training_pipeline.service.work.child import Heard, TrainingChild

RUN_SECONDS = 180.0

pytestmark = pytest.mark.usefixtures("one_core")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of its own whose feature store holds labelled mentions."""
    fill_feature_store(tmp_path / "home", *sample_mentions(MENTIONS))
    return tmp_path / "home"


def task_of(folder: Path, base: Path, *, epochs: int) -> Path:
    """Return a task file; an epoch has six steps."""
    path = folder / "task.toml"
    path.write_text(task_text(base, epochs=epochs))
    return path


def new_mentions(home: Path) -> None:
    """Add labelled mentions to the feature store."""
    mentions, labels = sample_mentions(MENTIONS + 20)
    add_mentions(home, mentions.tail(20), labels.tail(20))


def weights(home: Path, run_id: str) -> str:
    """Return the hash of the weights that a run of the registry came to."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri(Places.embedded(home)))
    record = client.download_artifacts(run_id, "repro.json")
    return str(json.loads(Path(record).read_text())["fit"]["weight_sha256"])


def versions(home: Path) -> list[str]:
    """Return the registry's versions."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri(Places.embedded(home)))
    return [str(version.version) for version in client.search_model_versions("name = 'flights'")]


def test_a_run_outlives_its_workers(home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Ended in order, then killed, while mentions come: the weights are of no interruption."""
    task = task_of(tmp_path, tiny_encoder, epochs=20)
    with training_system(home, task) as system:
        run_id = system.post()
        first = system.start("work")
        system.wait_for_step(run_id, 2, RUN_SECONDS)
        children = children_of(first.pid)
        assert end(first, signal.SIGTERM) == 0
        assert gone(children)
        run = system.run(run_id)
        assert (run["state"], run["lost_workers"]) == ("queued", 0)
        reached = run["metrics"]["step"]
        new_mentions(home)

        second = system.start("work")
        system.wait_for_step(run_id, int(reached) + 1, RUN_SECONDS)
        children = children_of(second.pid)
        second.kill()
        wait_for(lambda: gone(children), END_SECONDS)
        assert system.run(run_id)["state"] == "running"
        new_mentions(home)

        system.start("work")
        run = system.wait_for_state(run_id, {"succeeded", "gate_failed", "failed"}, RUN_SECONDS)
    assert run["state"] == "succeeded", run
    assert (run["attempts"], run["lost_workers"]) == (3, 1)
    assert versions(home) == [run["result"]["version"]]
    assert list((home / "training" / "runs").iterdir()) == []
    log = (home / "training" / "logs" / f"{run_id}.log").read_text()
    assert "given up" not in log, "a checkpoint was thrown away"

    quiet, result = tmp_path / "quiet", tmp_path / "result.json"
    fill_feature_store(quiet, *sample_mentions(MENTIONS))
    command = [sys.executable, "-m", "training_pipeline", "train", "--task", str(task)]
    environment = {**os.environ, "FTI_HOME": str(quiet)}
    subprocess.run([*command, "--result", str(result)], env=environment, check=True)
    undisturbed = json.loads(result.read_text())["run_id"]
    assert weights(home, run["result"]["run_id"]) == weights(quiet, undisturbed)


def test_a_cancelled_run_leaves_nothing(home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """No process, no files and nothing in the registry; the worker goes on with the next run."""
    task = task_of(tmp_path, tiny_encoder, epochs=2_000)
    with training_system(home, task, FTI_TRAINING_WARM="true") as system:
        worker = system.start("work")
        run_id = system.post()
        system.wait_for_step(run_id, 1, RUN_SECONDS)
        children = children_of(worker.pid)
        assert system.http.delete(f"/v1/runs/{run_id}").json()["state"] == "cancelling"
        run = system.wait_for_state(run_id, {"cancelled"}, END_SECONDS)
        assert run["finished_at"] is not None
        assert gone(children)
        assert list((home / "training" / "runs").iterdir()) == []
        assert not (home / "mlflow").exists() or versions(home) == []

        next_run = system.post(overrides={"epochs": 1, "seed": 8})
        done = system.wait_for_state(next_run, {"succeeded", "failed"}, RUN_SECONDS)
        assert done["state"] == "succeeded", done
        events = system.http.get(f"/v1/runs/{next_run}/events").text.strip().split("\n\n")
        middle = len(events) // 2
        rest = system.http.get(
            f"/v1/runs/{next_run}/events", headers={"Last-Event-ID": str(middle)}
        )
        assert rest.text.strip().split("\n\n") == events[middle:]
        assert end(worker, signal.SIGINT) == 0
    assert versions(home) == ["1"]


def test_a_run_that_is_registered_is_completed(
    home: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """Neither a wish to cancel nor the worker's end cuts a registration short."""
    task = task_of(tmp_path, tiny_encoder, epochs=1)
    with training_system(home, task) as system:
        worker = system.start("work")
        run_id = system.post()
        before = {"fit", "export", "evaluate", "gate"}
        system.wait_for_run(run_id, lambda run: run["stage"] in before, RUN_SECONDS)
        # Who writes there waits, though not for longer than five seconds.
        with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as registry:
            registry.execute("BEGIN IMMEDIATE")
            system.wait_for_registration(run_id, RUN_SECONDS)
            refused = system.http.delete(f"/v1/runs/{run_id}")
            worker.terminate()
        assert refused.status_code == 409
        assert refused.json()["error"]["found"] == "one that is being registered"
        assert worker.wait(END_SECONDS) == 0
        run = system.run(run_id)
    assert (run["state"], run["attempts"]) == ("succeeded", 1)
    assert versions(home) == [run["result"]["version"]]


def test_a_broker_that_dies_loses_no_run(
    tmp_path: Path, tiny_encoder: Path, redis_server: RedisServer
) -> None:
    """Runs are taken while it is away; workers find them when it is back, without its memory."""
    task = task_of(tmp_path, tiny_encoder, epochs=1)
    settings = {"FTI_TRAINING_BROKER": redis_server.address}
    with training_system(tmp_path / "empty", task, **settings) as system:
        system.start("work", "--queues", "default,night")
        first = system.post()
        system.wait_for_state(first, {"running"}, RUN_SECONDS)
        redis_server.kill()
        assert_failed_for_lack_of_data(system.wait_for_state(first, {"failed"}, RUN_SECONDS))
        # Its message could not be acknowledged.
        while_away = [system.post(), system.post(queue="night")]
        reasons = system.http.get("/readyz").json()["reasons"]
        assert reasons == ["broker: it cannot be reached; runs wait"]
        (tmp_path / "redis" / "appendonlydir").rename(tmp_path / "forgotten")
        redis_server.start()
        for run_id in while_away:
            run = system.wait_for_state(run_id, {"failed"}, RUN_SECONDS)
            assert_failed_for_lack_of_data(run)


def test_a_run_without_data_fails_with_the_remedy(tmp_path: Path, tiny_encoder: Path) -> None:
    """Several processes fail as one does: the failure tells what to do, and the log is there."""
    task = task_of(tmp_path, tiny_encoder, epochs=1)
    with training_system(tmp_path / "empty", task, FTI_TRAINING_PROCESSES="2") as system:
        system.start("work")
        run_id = system.post()
        run = system.wait_for_state(run_id, {"failed"}, RUN_SECONDS)
        assert_failed_for_lack_of_data(run)
        assert run["created_at"] <= run["started_at"] <= run["finished_at"]
        assert (tmp_path / "empty" / "training" / "logs" / f"{run_id}.log").exists()


def test_killing_ends_every_process(home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Those that torchrun started, too, though it cannot end them any more."""
    task = task_of(tmp_path, tiny_encoder, epochs=2_000)
    environment = {**os.environ, "FTI_HOME": str(home)}
    child = TrainingChild(environment, warm=False, processes=2, grace=END_SECONDS)
    stepped = threading.Event()

    def report(heard: Heard) -> None:
        if "step" in heard.figures:
            stepped.set()

    arguments = ["train", "--task", str(task), "--progress", "json", "--supervised", "600"]
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(
            child.run, arguments, log=tmp_path / "log", report=report, may_register=lambda: False
        )
        assert stepped.wait(RUN_SECONDS), (tmp_path / "log").read_text()
        (torchrun,) = (pid for pid in children_of(os.getpid()) if len(children_of(pid)) > 1)
        ranks = children_of(torchrun)
        child.kill()
        assert ended.result(END_SECONDS).exit_code == -signal.SIGKILL
        wait_for(lambda: gone(ranks), END_SECONDS)


def assert_failed_for_lack_of_data(run: dict[str, Any]) -> None:
    assert run["attempts"] == 1
    assert run["result"] is None
    assert run["error"]["found"] == "none of that name"
    assert run["error"]["remedy"].startswith("Run `python -m feature_pipeline backfill`")


def test_what_cannot_start_says_why(tmp_path: Path, tiny_encoder: Path) -> None:
    """An open address without tokens, and queues that cannot be, are refused with exit code 1."""
    task = task_of(tmp_path, tiny_encoder, epochs=1)
    for command, settings, words in (
        (["serve"], {"FTI_TRAINING_HOST": "0.0.0.0"}, "Set FTI_TRAINING_TOKENS_FILE"),  # noqa: S104 - refused
        (["work", "--queues", "GPU 1"], {}, "error: --queues: expected"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "training_pipeline", *command],
            env=os.environ | {"FTI_HOME": str(tmp_path), "FTI_TASK": str(task)} | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
