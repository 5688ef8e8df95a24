from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.sample import task_text
from tests.training.service_process import END_SECONDS, Service, training_service, wait_for

RUN_SECONDS = 120.0


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A task whose base is the tiny encoder."""
    path = tmp_path_factory.mktemp("task") / "task.toml"
    path.write_text(task_text(tiny_encoder))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose feature store is empty."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def service(task_file: Path, home: Path) -> Iterator[Service]:
    """A service in the empty home: runs fail for lack of data."""
    with training_service(home, task_file) as started:
        yield started


def test_a_run_without_data_fails_with_the_remedy(service: Service) -> None:
    """A run is taken at once, is found where Location says, and its failure tells what to do."""
    answer = service.http.post(
        "/v1/runs", json={"reason": "drift", "task": "flights", "idempotency_key": "a"}
    )
    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    again = service.http.post("/v1/runs", json={"reason": "drift", "idempotency_key": "a"})
    assert again.json()["run_id"] == run_id
    run = service.wait_for_state(run_id, {"failed"}, RUN_SECONDS)
    assert run["stage"] == "load"
    assert run["result"] is None
    assert run["error"]["found"] == "none of that name"
    assert run["error"]["remedy"].startswith("Run `python -m feature_pipeline backfill`")
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]
    listed = service.http.get("/v1/runs").json()["runs"]
    assert [found["run_id"] for found in listed] == [run_id]
    told = service.http.get("/metrics").text
    assert 'fti_training_runs{state="failed"} 1.0' in told
    assert 'fti_training_run_seconds_count{state="failed"} 1.0' in told
    assert 'route="/v1/runs/{run_id}"' in told


@pytest.mark.parametrize(
    ("body", "status", "place", "words"),
    [
        ({"reason": "x", "task": "films"}, 422, "body.task", "'flights'"),
        ({}, 422, "body.reason", "nothing"),
        ({"reason": "  "}, 422, "body.reason", "match pattern"),
        ({"reason": 7}, 422, "body.reason", "string"),
        ({"reason": "x", "epochs": 3}, 422, "body.epochs", "no field of this name"),
        ({"reason": "x", "idempotency_key": ""}, 422, "body.idempotency_key", "at least 1"),
        ({"reason": "x" * 20_000}, 413, "body", "at most 16384 bytes"),
    ],
)
def test_bad_requests_name_the_field(
    service: Service, body: dict[str, Any], status: int, place: str, words: str
) -> None:
    """A request that does not fit is refused, with the field, what it needs and what came."""
    answer = service.http.post("/v1/runs", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["place"]) == (status, place)
    assert words in f"{error['expected']} {error['found']}"
    assert set(error) == {"place", "expected", "found", "remedy"}


def test_a_large_body_without_a_length_is_refused(service: Service) -> None:
    """The limit counts the bytes that come, so a body sent in chunks is refused as well."""
    answer = service.http.post("/v1/runs", content=(b"x" * 1_000 for _ in range(20)))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/runs/unknown", 404), ("GET", "/nothing", 404), ("DELETE", "/v1/runs", 405)],
)
def test_what_is_not_there_has_the_same_shape(
    service: Service, method: str, path: str, status: int
) -> None:
    """Unknown runs, paths and methods answer with the four parts of an error."""
    answer = service.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"place", "expected", "found", "remedy"}


def test_readiness_looks_at_the_task_file(service: Service, task_file: Path) -> None:
    """A task file that no longer can be read makes the service not ready, but not dead."""
    text = task_file.read_text()
    task_file.write_text("this is no TOML")
    try:
        answer = service.http.get("/readyz")
    finally:
        task_file.write_text(text)
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["task file: it cannot be read"]}
    assert service.http.get("/healthz").status_code == 200
    assert service.http.get("/readyz").status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_service_interrupts_its_run(
    task_file: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """However the service ends, its child ends too, and the run is interrupted, not lost."""
    with training_service(tmp_path, task_file) as service:
        run_id = service.http.post("/v1/runs", json={"reason": "x"}).json()["run_id"]
        service.wait_for_state(run_id, {"running"}, RUN_SECONDS)
        children = wait_for(lambda: service.children() or None, END_SECONDS)
        exit_code = service.end(how)
    assert exit_code == {signal.SIGTERM: 0, signal.SIGKILL: -signal.SIGKILL}[how]
    wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children) or None, RUN_SECONDS
    )
    with training_service(tmp_path, task_file) as service:
        run = service.run(run_id)
    assert run["state"] == "interrupted"
    assert run["error"]["found"] == "the service stopped before"


def test_second_service_in_a_home_is_refused(service: Service, home: Path, task_file: Path) -> None:
    """The queue of a home has one server; a second one would take its runs for interrupted."""
    assert service.http.get("/healthz").is_success
    done = subprocess.run(
        [sys.executable, "-m", "training_pipeline", "serve"],
        env=os.environ | {"FTI_HOME": str(home), "FTI_TASK": str(task_file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "It runs there already" in done.stderr
