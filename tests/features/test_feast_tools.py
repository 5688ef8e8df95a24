"""Feast's own tools on the repository that is written for them: command line and UI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from feature_pipeline import cli
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.progress import NoProgress
from feature_pipeline.store.feast_folder import PASSWORD_VARIABLE, write_feast_folder
from shared.errors import StateError
from shared.feature_store import open_feature_store
from shared.places import Places
from tests.conftest import running_redis
from tests.features.stream_process import answers, free_port, until
from tests.features.test_backfill import NOW, ROWS, pipeline

FEAST = str(Path(sys.executable).with_name("feast"))
PACKAGES = str(Path(__file__).parents[2])
VIEWS = {
    "subject_activity",
    "source_activity",
    "mention_text",
    "mention_label",
    "prediction_log",
    "mention_prediction",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with history, and Feast's folder in it."""
    history = tmp_path / "history.csv"
    history.write_text(ROWS)
    backfill(pipeline(tmp_path), history, NOW, NoProgress())
    return tmp_path / "home"


@pytest.fixture
def repository(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTI_HOME", str(home))
    monkeypatch.setenv("FTI_TASK", str(home.parent / "films.toml"))
    assert cli.main(["feast-repository"]) == 0
    return home / "feast"


def feast(repository: Path, *arguments: str, **variables: str) -> str:
    """Run Feast's command line on a repository; return what it prints."""
    done = subprocess.run(
        [FEAST, "-c", str(repository), *arguments],
        env={**os.environ, "PYTHONPATH": PACKAGES, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def feast_ui(repository: Path) -> Iterator[str]:
    """Run Feast's UI until the context ends; yield its address."""
    port = free_port()
    with subprocess.Popen(
        [FEAST, "-c", str(repository), "ui", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: answers(url), "Feast's UI")
            yield url
        finally:
            process.terminate()


def test_command_line_lists_and_validates_and_the_ui_opens(repository: Path) -> None:
    """Feast lists the views and finds no difference to the definitions; its UI shows them."""
    listed = feast(repository, "feature-views", "list")
    assert {line.split()[0] for line in listed.splitlines()[1:]} == VIEWS
    # Feast validates what the folder defines, and compares it with the registry.
    assert "No changes to registry" in feast(repository, "plan")
    with feast_ui(repository) as url:
        page = httpx.get(url).text
        assert "<title>" in page
        assert "<script" in page
        (project,) = httpx.get(f"{url}/projects-list.json").json()["projects"]
        shown = httpx.get(f"{url}{project['registryPath']}/feature_views?project={project['id']}")
        assert {view["spec"]["name"] for view in shown.json()["featureViews"]} == VIEWS


def test_apply_changes_nothing_that_the_task_defines(repository: Path) -> None:
    """The command that would empty the registry of an empty repository leaves this one alone."""
    assert "No changes to registry" in feast(repository, "apply")
    store = open_feature_store(Places.embedded(repository.parent))
    assert {view.name for view in store.list_feature_views()} == VIEWS
    assert [service.name for service in store.list_feature_services()] == ["films"]


def test_password_is_read_from_a_variable(tmp_path: Path, home: Path) -> None:
    """The folder holds no password; with the variable set, Feast reads the online store."""
    secret = "p:ss-w@rd"  # noqa: S105 - of a server that lives as long as the test
    with running_redis(tmp_path / "redis", password=secret) as server:
        places = replace(Places.embedded(home), online_store=server.address)
        folder = tmp_path / "repository"
        variables = write_feast_folder(folder, tmp_path / "films.toml", places)
        assert variables == (PASSWORD_VARIABLE,)
        written = "".join(path.read_text() for path in folder.iterdir())
        assert secret not in written
        assert "p%3Ass" not in written
        asked = ["get-online-features", "-f", "subject_activity:mentions_60s", "-e", "subject_id=x"]
        shown = feast(folder, *asked, **{PASSWORD_VARIABLE: secret})
        assert "mentions_60s" in shown


def test_registry_on_a_server_comes_from_its_variable(tmp_path: Path) -> None:
    """The address of a database may hold a password anywhere, so none of it is written."""
    places = replace(
        Places.embedded(tmp_path), feature_registry="postgresql+psycopg://fti:secret@db/feast"
    )
    variables = write_feast_folder(tmp_path / "feast", tmp_path / "films.toml", places)
    assert variables == ("FTI_FEATURE_REGISTRY",)
    written = (tmp_path / "feast" / "feature_store.yaml").read_text()
    assert "path: ${FTI_FEATURE_REGISTRY}" in written
    assert "secret" not in written


def test_somebody_elses_repository_is_left_alone(tmp_path: Path) -> None:
    """A feature_store.yaml that was written by hand is not replaced."""
    (tmp_path / "feature_store.yaml").write_text("project: mine\n")
    with pytest.raises(StateError, match="--output"):
        write_feast_folder(tmp_path, tmp_path / "films.toml", Places.embedded(tmp_path))
    assert (tmp_path / "feature_store.yaml").read_text() == "project: mine\n"
