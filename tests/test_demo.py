"""The demo begins anew each time, so it must not reach what is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.cli import main
from demo.environment import demo_environment


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("FTI_ONLINE_STORE", "redis://:hunter2@redis"),
        ("FTI_OFFLINE_STORE", "s3://features"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti:hunter2@db/feast"),
        ("FTI_MLFLOW_URI", "http://mlflow:5000"),
    ],
)
def test_a_store_that_is_elsewhere_stops_the_demo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    address: str,
) -> None:
    """Before anything is emptied, and without showing the address."""
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    monkeypatch.setenv(name, address)
    assert main([]) == 1
    told = capsys.readouterr().err
    assert name in told
    assert address not in told
    assert list(tmp_path.iterdir()) == []


def test_tokens_and_other_models_are_not_passed_on() -> None:
    """The demo asks its server without a token, for the model of its task."""
    given = {
        "PATH": "/bin",
        "FTI_HOME": "home",
        "FTI_ONLINE_STORE": "",
        "FTI_INFERENCE_TOKENS_FILE": "tokens",
        "FTI_TRAINING_RUNS": "postgresql+psycopg://fti:hunter2@db/training",
        "FTI_TRAINING_QUEUES": "gpu",
        "FTI_INFERENCE_MODEL": "other",
    }
    passed = demo_environment(given)
    assert passed.pop("FTI_TRAINING_ALLOW_DIRTY") == "true"
    assert passed.keys() == {"PATH", "FTI_HOME", "FTI_ONLINE_STORE"}
