"""The README, followed word by word: the whole loop with a tiny encoder and real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Checkout, film_reviews, made_small


@pytest.fixture(scope="module")
def demo(checkout: Checkout) -> str:
    """Run the demo on the sample's tweets; return what it printed."""
    done = checkout.run(checkout.commands("make demo"))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return done.stdout


@pytest.fixture(scope="module")
def services(checkout: Checkout, demo: str) -> Iterator[subprocess.Popen[str]]:
    """Keep ``make serve`` up."""
    assert demo
    with subprocess.Popen(
        ["/bin/bash", "-c", checkout.commands("make serve")],
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C stops"):
                break
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)


def test_demo_proves_every_stage(demo: str, checkout: Checkout) -> None:
    """``make demo`` ends with a table of five stages, and says that times are simulated."""
    table = demo[demo.index("What was done and proved") :]
    for stage in ("backfill", "train", "serve", "stream", "retrain"):
        assert f"│ {stage} " in table
    assert "none failed" in " ".join(table.replace("│", " ").split())
    assert "Arrival times are simulated" in demo
    assert list((checkout.folder / ".fti" / "training" / "making").iterdir()) == []


def test_prediction(services: subprocess.Popen[str], checkout: Checkout) -> None:
    """The README's request is answered with label, version and what was known."""
    assert services.poll() is None
    answer = _until_answered(checkout, checkout.commands("curl -s http://localhost:8000"))
    (prediction,) = answer["predictions"]
    assert answer["model"]["version"] == "2"
    assert prediction["subject_id"] == "united"
    assert prediction["features"]["subject_activity"]["status"] == "present"


def test_events(services: subprocess.Popen[str], checkout: Checkout) -> None:
    """The README's mention and label are accepted."""
    assert services.poll() is None
    done = checkout.run(
        checkout.commands("curl -s http://localhost:8001").replace("}'\n", "}'; echo\n")
    )
    mentions, labels = (json.loads(line) for line in done.stdout.splitlines())
    assert (mentions["accepted"], labels["accepted"]) == (1, 1)


def test_retraining(services: subprocess.Popen[str], checkout: Checkout) -> None:
    """The README's request starts a run, which the list of runs shows."""
    assert services.poll() is None
    done = checkout.run(
        checkout.commands("curl -s http://localhost:8002").replace("}'\n", "}'; echo\n")
    )
    asked, listed = (json.loads(line) for line in done.stdout.splitlines())
    assert asked["state"] == "queued"
    assert asked["run_id"] in json.dumps(listed)


def test_watching_a_run(services: subprocess.Popen[str], checkout: Checkout) -> None:
    """The README's lines tell of the newest run until its end; then it cannot be cancelled."""
    assert services.poll() is None
    done = checkout.run(checkout.commands("RUN="))
    assert '"metrics":' in done.stdout
    assert 'event: state\ndata: {"at"' in done.stdout
    assert '"state": "succeeded"' in done.stdout
    assert "a run that can still be cancelled" in done.stdout


def test_ctrl_c_leaves_nothing_running(services: subprocess.Popen[str], checkout: Checkout) -> None:
    """After Ctrl-C no process of the embedded mode is left, not even a training."""
    os.killpg(services.pid, signal.SIGINT)
    services.wait(60)
    left = [
        command
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(checkout.folder) in (command := _command_in(path, checkout.folder))
    ]
    assert left == []


def test_own_data(checkout: Checkout) -> None:
    """The README's task file takes a file of reviews through the whole loop."""
    (checkout.folder / "tasks" / "film_reviews.toml").write_text(made_small(checkout.file("toml")))
    reviews = film_reviews(like=checkout.file("json"), count=500)
    (checkout.folder / "reviews.jsonl").write_text(reviews)
    done = checkout.run(checkout.commands("FTI_HOME=.fti-films make demo"))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "simulated" not in done.stdout


def test_own_data_step_by_step(checkout: Checkout) -> None:
    """The commands behind the demo do the same one by one."""
    done = checkout.run(checkout.commands("export FTI_HOME"))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "Registered as version 1" in done.stdout
    letters = checkout.run(checkout.commands(".venv/bin/python -m feature_pipeline dead-letters"))
    assert (letters.returncode, "dead letters" in letters.stdout) == (0, True)


def test_every_command_is_tested(checkout: Checkout) -> None:
    """No block of commands in the README is left out above; ``make test`` is what runs this."""
    tested = Path(__file__).read_text()
    for kind, text in checkout.blocks:
        if kind == "bash" and text != "make test\n":
            assert any(
                text.startswith(start.split('"')[0]) for start in tested.split('commands("')[1:]
            ), text


def _until_answered(checkout: Checkout, command: str) -> dict[str, Any]:
    """Ask until a model is served, for the server loads it after its start."""
    deadline = time.monotonic() + 60
    while True:
        answer: dict[str, Any] = json.loads(checkout.run(command).stdout)
        if "error" not in answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def _command_in(path: Path, folder: Path) -> str:
    """Return the command of a process that works in the folder, else nothing."""
    try:
        works_here = (path.parent / "cwd").readlink() == folder
        return f"{folder} {(path.parent / 'cmdline').read_text()}" if works_here else ""
    except OSError:
        return ""  # it ended, or is another user's
