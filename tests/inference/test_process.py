"""The service as a process of its own: command line, real stores, signals, imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.inference import feast_store
from tests.inference.conftest import eventually, ready
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("torch", "transformers", "polars", "bytewax", "sklearn", "mlflow.pyfunc")


def command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Start the service's command line with some settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FTI_")}
    return subprocess.Popen(
        [sys.executable, "-m", "inference_pipeline", *arguments],
        cwd=ROOT,
        env=inherited | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_end(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command and return its exit status and what it wrote."""
    with command(*arguments, **settings) as process:
        output, errors = process.communicate(timeout=60)
        return process.returncode, output + errors


@contextmanager
def serving(home: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Run ``serve`` on a free port and give a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = command(
        "serve",
        "--port",
        str(port),
        FTI_HOME=str(home),
        FTI_INFERENCE_MODEL=MODEL,
        FTI_INFERENCE_POLL_SECONDS="0.1",
    )

    def up() -> bool:
        assert process.poll() is None, process.communicate()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        try:
            eventually(up, bool)
            yield process, client
        finally:
            process.kill()


def test_serves_from_real_stores_and_ends_on_sigterm(
    home: Path, publisher: Publisher, store: FeatureStore
) -> None:
    """A prediction carries online features of Feast; SIGTERM ends the process with status 0."""
    feast_store.write(
        store,
        "subject",
        "united",
        datetime.now(UTC),
        {"mentions_24h": 3, "share_positive_24h": None},
    )
    publisher.publish(TinyModel())
    with serving(home) as (process, client):
        ready(client, "1")
        answer = client.post("/v1/predict", json={"text": "@united late flight"})
        (prediction,) = answer.json()["predictions"]
        assert prediction["features"]["subject_activity"]["status"] == "present"
        assert prediction["features"]["subject_activity"]["age_seconds"] < 60
        assert prediction["features"]["source_activity"]["status"] == "missing"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
    events = [line for line in log.splitlines() if line]
    assert all(line.startswith("{") for line in events), log
    assert any('"model_in_service"' in line for line in events)


def test_an_unknown_setting_stops_the_start() -> None:
    """A typing error in a variable's name is told with the name that was meant."""
    status, output = run_to_end("serve", FTI_INFERENCE_PROT="1")
    assert status == 1
    assert "FTI_INFERENCE_PROT" in output
    assert "Did you mean FTI_INFERENCE_PORT?" in output
    assert "Traceback" not in output


def test_a_bad_port_stops_the_start() -> None:
    """A flag is checked as its variable is."""
    status, output = run_to_end("serve", "--port", "70000")
    assert status == 1
    assert "FTI_INFERENCE_PORT" in output
    assert "70000" in output


def test_help_tells_the_command() -> None:
    """The command is found from --help."""
    status, output = run_to_end("--help")
    assert status == 0
    assert "serve" in output


@pytest.mark.parametrize("start", ["import inference_pipeline.cli", "serve"])
def test_needs_no_training_library(start: str, tmp_path: Path) -> None:
    """Every module imports, and the app is built on real stores, without training's libraries."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "inference_pipeline").rglob("*.py")
        if path.name not in {"__main__.py", "__init__.py"}
    ]
    build = (
        "from inference_pipeline.bootstrap import build_app\n"
        "from inference_pipeline.settings import InferenceSettings\n"
        f"build_app(InferenceSettings(home={str(tmp_path)!r}))\n"
    )
    code = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({FORBIDDEN!r}))\n"
        f"for name in {sorted(modules)!r}: importlib.import_module(name)\n"
        f"{build if start == 'serve' else ''}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
