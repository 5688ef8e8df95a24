"""The alarms are about figures that the services have, and the documents explain each."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
SOURCES = "\n".join(
    path.read_text()
    for package in ("feature_pipeline", "training_pipeline", "inference_pipeline")
    for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_figures_exist(rule: dict[str, str]) -> None:
    """What an alarm looks at is a figure of a service."""
    for figure in re.findall(r"fti_\w+", rule["expr"]):
        name = re.sub(r"_(bucket|total|count)$", "", figure)
        parts = name.replace("fti_features_log_lag_seconds", "log_lag_seconds")
        assert f'"{name}"' in SOURCES or f'"{figure}"' in SOURCES or f'"{parts}"' in SOURCES, figure


def test_documents_explain_every_alarm() -> None:
    """The table of alarms lists each, and no other."""
    text = (ROOT / "docs" / "stack.md").read_text()
    table = text.partition("## Alarms")[2].partition("\n## ")[0]
    listed = re.findall(r"(?m)^\| `(\w+)`", table)
    assert sorted(listed) == sorted(rule["alert"] for rule in RULES)


def test_severities() -> None:
    """An alarm wakes somebody, or waits for the morning."""
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}


def test_promtool() -> None:
    """Prometheus' own checks pass; `make test-stack` runs the rules' test in its container."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    for arguments, name in (
        (["check", "rules"], "rules.yml"),
        (["check", "config", "--syntax-only"], "prometheus.yml"),
        (["test", "rules"], "rules_test.yml"),
    ):
        command = [promtool, *arguments, str(FOLDER / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
