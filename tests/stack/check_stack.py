"""The stack in real containers: built, brought up, used, and each of them killed.

`make test-stack` runs it, `make test` does not: it needs Docker, and up to half an hour.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from demo.sample import sample_file
from demo.stack.client import Stack, wait_until
from demo.stack.smoke import Smoke
from shared.errors import StateError
from shared.task import load_task
from tests.stack.compose import ROOT, Project, base_size, image_sizes
from tests.stack.load import Load

KILLED = (
    "training-worker",
    "training",
    "training-beat",
    "mlflow",
    "stream",
    "gateway",
    "redis",
    "postgres",
    "inference",
    "prometheus",
)
"""The worker comes first: a run is in flight then."""
DOWN_SECONDS = 3.0
BETWEEN_SECONDS = 5.0
SETTLED_SECONDS = 300.0
RUN_SECONDS = 900.0
ENDED = {"succeeded", "failed", "gate_failed", "cancelled"}
SMALL = {"max_length": "32", "max_texts": "600", "max_holdout": "200"}
MENTIONS = 900

console = Console(width=100)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("stack")
    folder.chmod(0o755)
    project = Project(folder, small_task(folder), {"FTI_TRAINING_CHECKPOINT_SECONDS": "15"})
    try:
        project.compose("build")
        begin = time.monotonic()
        healthy = project.up()
        console.print(f"The stack was healthy {time.monotonic() - begin:.0f} s after `up`.")
        show_sizes()
        show_seconds("From start to health", healthy)
        yield project
    except BaseException:
        console.print(project.compose("logs", "--tail", "40"), markup=False, highlight=False)
        raise
    finally:
        project.tear_down()


def small_task(folder: Path) -> Path:
    """Write the sample's task, but for a training of a minute, whose champion need not be good."""
    text = (ROOT / "tasks" / "brand_mentions.toml").read_text()
    for name, value in SMALL.items():
        text, changes = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert changes == 1, name
    text, changes = re.subn(
        r"(?m)^min_gain_over_baseline = .*$", "min_gain_over_baseline = -1.0", text
    )
    assert changes == 1
    path = folder / "task.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def show_sizes() -> None:
    """Print the sizes of the images."""
    base = base_size()
    table = Table(title="Images", title_justify="left")
    for column in ("image", "MB", "MB without its base"):
        table.add_column(column)
    for name, size in image_sizes().items():
        table.add_row(name, f"{size / 1e6:,.0f}", f"{(size - base) / 1e6:,.0f}")
    console.print(table)


def show_seconds(title: str, seconds: Mapping[str, float]) -> None:
    """Print how long something took, by service."""
    table = Table(title=title, title_justify="left")
    table.add_column("service")
    table.add_column("s", justify="right")
    for service, took in seconds.items():
        table.add_row(service, f"{took:.1f}")
    console.print(table)


def test_all_are_healthy(project: Project) -> None:
    """Each container is healthy; the one that applies the feature views has ended with 0."""
    for service, container in project.containers().items():
        if service == "apply":
            assert (container.status, container.exit_code) == ("exited", 0)
        else:
            assert container.health == "healthy", service


def test_alarms(project: Project) -> None:
    """Prometheus' own test of the rules passes."""
    rules = "/etc/prometheus/rules_test.yml"
    told = project.compose("exec", "-T", "prometheus", "promtool", "test", "rules", rules)
    assert "SUCCESS" in told


def test_smoke(project: Project) -> None:
    """The four things a user does work: stream, predict, retrain, look at the metrics."""
    task = load_task(project.task_file)
    smoke = Smoke(project.stack, console, task, sample_file(), MENTIONS)
    assert [proof.stage for proof in smoke.run()][-1] == "look"


def test_readme_request(project: Project) -> None:
    """The README's request to the stack is taken."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", (ROOT / "README.md").read_text())
    (command,) = [block for block in blocks if block.startswith("curl")]
    address = project.stack.addresses["features"]
    command = command.replace("http://localhost:8001", address)
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", command],
        cwd=project.folder,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["accepted"] == 1


def test_kills(project: Project) -> None:
    """Each container is killed in turn: no mention is lost or counted twice.

    Only requests to the killed server fail, and the training in flight ends well.
    """
    stack = project.stack
    away: list[tuple[float, float]] = []
    run = stack.post("training", "/v1/runs", {"reason": "kills"})["run_id"]
    wait_until(lambda: told_of(stack, run, "stage") == "fit", "the run's fit", SETTLED_SECONDS)
    took: dict[str, float] = {}
    with Load(stack) as load:
        for service in KILLED:
            begin = time.monotonic()
            project.kill(service)
            time.sleep(DOWN_SECONDS)
            restarted = time.monotonic()
            project.start(service)
            if service == "inference":
                took["inference, ready with a model"] = wait_until(
                    lambda: is_ready(stack), "readiness", SETTLED_SECONDS
                )
                away.append((begin, time.monotonic()))
            project.wait_healthy(service)
            took[service] = time.monotonic() - restarted
            time.sleep(BETWEEN_SECONDS)
        show_seconds("Killed and started again: to health", took)
        wait_until(lambda: told_of(stack, run, "state") in ENDED, "the run's end", RUN_SECONDS)
        assert told_of(stack, run, "state") == "succeeded"
    assert load.errors == []
    outside = [
        failure
        for failure in load.failures
        if not any(begin <= failure.end and failure.begin <= end for begin, end in away)
    ]
    console.print(
        f"{sum(load.sent.values()):,} mentions sent, {load.repeated} posts repeated;"
        f" {load.predictions:,} predictions, {len(load.failures)} failed, {len(outside)} of them"
        " while inference was up."
    )
    assert outside == []
    check_counts(project, load)


def check_counts(project: Project, load: Load) -> None:
    """Both stores come to hold each mention that was sent, once."""
    script = (ROOT / "tests" / "stack" / "counts.py").read_text()
    subjects = sorted(load.sent)
    expected = dict(load.sent)
    counts: dict[str, dict[str, int]] = {}

    def settled() -> bool:
        said = project.compose("exec", "-T", "gateway", "python", "-", *subjects, stdin=script)
        counts.update(json.loads(said))
        return all(
            {subject: found.get(subject) for subject in subjects} == expected
            for found in counts.values()
        )

    try:
        wait_until(settled, "counts of all subjects", SETTLED_SECONDS)
    except StateError as error:
        raise AssertionError(f"sent {expected}, found {counts}") from error


def told_of(stack: Stack, run: str, what: str) -> str | None:
    """Return the state or the stage of a run; None while nobody tells."""
    try:
        told: str | None = stack.get("training", f"/v1/runs/{run}")[what]
    except StateError:
        return None
    return told


def is_ready(stack: Stack) -> bool:
    """Tell whether the inference server would be sent requests."""
    try:
        return bool(stack.get("inference", "/readyz")["ready"])
    except StateError:
        return False
