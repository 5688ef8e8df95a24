"""The service as a process of its own: command line, real stores, signals, imports."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.inference import feast_store
from tests.inference.conftest import ready
from tests.inference.registry_files import Publisher
from tests.inference.server_process import ROOT, run_to_end, serving
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

FORBIDDEN = ("torch", "transformers", "polars", "bytewax", "sklearn", "mlflow.pyfunc")


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
    with serving(home) as server:
        ready(server.client, "1")
        answer = server.client.post("/v1/predict", json={"text": "@united late flight"})
        (prediction,) = answer.json()["predictions"]
        assert prediction["features"]["subject_activity"]["status"] == "present"
        assert prediction["features"]["subject_activity"]["age_seconds"] < 60
        assert prediction["features"]["source_activity"]["status"] == "missing"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0, server.log
    events = [line for line in server.log.splitlines() if line]
    assert all(line.startswith("{") for line in events), server.log
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
