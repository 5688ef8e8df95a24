"""Logs: an exception is told with where it came from, and never with the values on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "hunter2"  # noqa: S105 - of no server
FAILS = f"""
import logging, sys
from shared.logs import configure_logs, get_logger

def fail():
    address = "redis://fti:" + "".join({list(SECRET)!r}) + "@host"
    raise ValueError("no use")

configure_logs("test", log_format=sys.argv[1], level="debug")
for log in (get_logger("ours"), logging.getLogger("of.a.library")):
    try:
        fail()
    except ValueError:
        log.exception("failed")
"""


def run(*line: str, **settings: str) -> str:
    """Run a command of Python that fails, and return all that it wrote."""
    environment = {**os.environ, "FTI_ONLINE_STORE": f"redis://fti:{SECRET}@host:1/0", **settings}
    ended = subprocess.run(
        [sys.executable, *line], env=environment, capture_output=True, text=True, check=False
    )
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_tracebacks_show_no_values(log_format: str) -> None:
    """In both formats, from our loggers and those of libraries."""
    told = run("-c", FAILS, log_format)
    assert told.count("Traceback") == 2
    assert told.count("ValueError: no use") == 2
    assert SECRET not in told


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        ("feature_pipeline", "FTI_FEATURES_PORT"),
        ("training_pipeline", "FTI_TRAINING_PORT"),
        ("inference_pipeline", "FTI_INFERENCE_PORT"),
    ],
)
def test_a_wrong_setting_shows_no_other(pipeline: str, name: str, tmp_path: Path) -> None:
    """It is found before logs are configured, and told alone, whatever level they will have."""
    settings = {"FTI_HOME": str(tmp_path), "FTI_LOG_LEVEL": "debug", name: "abc"}
    told = run("-m", pipeline, "serve", **settings)
    assert f"{name}: expected a valid integer" in told
    assert SECRET not in told
    assert "Traceback" not in told


def test_where_an_error_came_from_is_told_to_whoever_asks(tmp_path: Path) -> None:
    """At level debug there is a traceback, at others there is none."""
    task = str(tmp_path / "none.toml")
    for level, times in (("debug", 1), ("info", 0)):
        command = ("-m", "training_pipeline", "train", "--task", task)
        told = run(*command, FTI_HOME=str(tmp_path), FTI_LOG_LEVEL=level)
        assert told.count("Traceback") == times
        assert "expected a task file, found no such file" in told
        assert SECRET not in told
