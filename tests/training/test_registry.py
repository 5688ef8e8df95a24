from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from shared.errors import StateError
from shared.model_registry import quiet_mlflow, tracking_uri
from shared.places import Places
from training_pipeline.gate.verdict import Failure, Verdict
from training_pipeline.registry import ANY, Candidate, MlflowRegistry, Sample
from training_pipeline.registry.connection import registry_errors
from training_pipeline.registry.registration import CANDIDATE_TAG, Registration

PASSED = Verdict()
FAILED = Verdict(
    failures=(Failure(rule="min_accuracy", about="accuracy", wanted="at least 0.9", got="0.5"),)
)
FILES = ["manifest.json", "model.onnx", "repro.json", "tokenizer.json"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of one registry: making its tables takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(home: Path) -> MlflowClient:
    """A client of the registry."""
    return MlflowClient(tracking_uri=tracking_uri(Places.embedded(home)))


@pytest.fixture
def registry(home: Path) -> MlflowRegistry:
    """The registry under test."""
    return MlflowRegistry(
        tracking_uri(Places.embedded(home)), Places.embedded(home).mlflow_artifacts
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a version; what is in them does not matter here."""
    folder = tmp_path / "version"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    return folder


def candidate(name: str, folder: Path, verdict: Verdict, champion: str | None = ANY) -> Candidate:
    """Return a candidate with this verdict about this champion."""
    return Candidate(
        name=name,
        folder=folder,
        feature_hash="f" * 64,
        verdict=verdict,
        reason="a test",
        started_at=1_767_225_600.0,
        params={"epochs": 1, "base": "tiny"},
        metrics={"accuracy": 0.75},
        losses=[0.7] * 1_500,
        reproduction={"seed": 7},
        report="<!doctype html><p>a report</p>",
        code_diff="+ a line",
        system=[Sample(1_767_225_700.5, {"system/cpu_utilization_percentage": 12.5})],
        champion=champion,
    )


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Return the aliases of a registered model."""
    return {k: str(v) for k, v in client.get_registered_model(name).aliases.items()}


def test_aliases_follow_the_gate(
    registry: MlflowRegistry, client: MlflowClient, folder: Path
) -> None:
    """Champion moves to versions that pass, previous to the one before; a failure moves none."""
    seen = []
    for verdict in (FAILED, PASSED, PASSED, FAILED):
        registry.register(candidate("aliased", folder, verdict))
        seen.append(aliases(client, "aliased"))
    assert seen == [
        {},
        {"champion": "2"},
        {"champion": "3", "previous": "2"},
        {"champion": "3", "previous": "2"},
    ]


def test_a_version_is_fetched_by_name(
    registry: MlflowRegistry, home: Path, folder: Path, tmp_path: Path
) -> None:
    """Name and version are enough to download the flat folder of files."""
    made = registry.register(candidate("fetched", folder, PASSED))
    mlflow.set_tracking_uri(tracking_uri(Places.embedded(home)))
    for name in (made.version, "champion"):
        uri = f"models:/fetched@{name}" if name == "champion" else f"models:/fetched/{name}"
        target = tmp_path / name
        target.mkdir()
        fetched = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(target)))
        assert sorted(file.name for file in fetched.iterdir()) == FILES
        assert (fetched / "model.onnx").read_text() == "model.onnx"


def test_a_run_remembers_how_it_came_about(
    registry: MlflowRegistry, client: MlflowClient, folder: Path, home: Path
) -> None:
    """Parameters, metrics, every step's loss, the verdict and the tags can be read again."""
    made = registry.register(candidate("remembered", folder, FAILED))
    run = client.get_run(made.run_id)
    assert run.data.params == {"epochs": "1", "base": "tiny"}
    assert run.data.metrics["accuracy"] == 0.75
    assert len(client.get_metric_history(made.run_id, "loss")) == 1_500
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(Places.embedded(home).mlflow_artifacts)
    verdict = json.loads(Path(client.download_artifacts(made.run_id, "verdict.json")).read_text())
    assert (verdict["passed"], verdict["failures"][0]["rule"]) == (False, "min_accuracy")
    assert Path(client.download_artifacts(made.run_id, "code.diff")).read_text() == "+ a line"
    (sample,) = client.get_metric_history(made.run_id, "system/cpu_utilization_percentage")
    assert (sample.value, sample.timestamp) == (12.5, 1_767_225_700_500)
    page = Path(client.download_artifacts(made.run_id, "report.html"))
    assert page.read_text() == "<!doctype html><p>a report</p>"
    version = client.get_model_version("remembered", made.version)
    assert version.tags["gate"] == "failed"
    assert version.tags["feature_hash"] == "f" * 64
    assert version.run_id == made.run_id


def test_an_interrupted_registration_leaves_no_version(
    registry: MlflowRegistry,
    client: MlflowClient,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C while files are logged ends the run as killed, and no version appears."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_artifacts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.register(candidate("interrupted", folder, PASSED))
    experiment = client.get_experiment_by_name("interrupted")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    assert client.search_model_versions("name = 'interrupted'") == []


@pytest.mark.parametrize(
    "cut", ["log_artifacts", "create_model_version", "set_registered_model_alias"]
)
def test_a_registration_that_was_cut_short_is_gone_on_with(
    registry: MlflowRegistry,
    client: MlflowClient,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
) -> None:
    """Wherever it was killed: one finished run, one version, and the alias on it; once again, too.

    What a killed process could not do any more, marking its run, is not done here either.
    """
    name = f"cut_{cut}"
    asked = candidate(name, folder, PASSED)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, cut, killed)
        patched.setattr(Registration, "_mark_killed", killed)
        with pytest.raises(SystemExit):
            registry.register(asked)
    made = [registry.register(asked) for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0].version, made[0].champion, made[0].note) == ("1", True, "")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (made[0].run_id, "FINISHED")
    assert aliases(client, name) == {"champion": "1"}


def test_another_champion_than_the_one_compared_with_stays(
    registry: MlflowRegistry, client: MlflowClient, folder: Path
) -> None:
    """The version is there, the alias stays, and the verdict says why."""
    registry.register(candidate("swapped", folder, PASSED, None))
    registry.register(candidate("swapped", folder, PASSED, "1"))
    late = registry.register(candidate("swapped", folder, PASSED, "1"))
    assert (late.version, late.champion) == ("3", False)
    assert late.note == "the champion is version 2 now, and the verdict is about version 1"
    verdict = json.loads(Path(client.download_artifacts(late.run_id, "verdict.json")).read_text())
    assert verdict["skipped"] == [{"rule": "alias champion", "reason": late.note}]
    assert aliases(client, "swapped") == {"champion": "2", "previous": "1"}
    first = registry.register(candidate("swapped", folder, PASSED, None))
    assert first.note == "the champion is version 2 now, and the verdict is about none"


def test_a_champion_that_was_rolled_back_stays_so(
    registry: MlflowRegistry, client: MlflowClient, folder: Path
) -> None:
    """Asked again after somebody moved the alias back, the registration does not undo that."""
    registry.register(candidate("rolled", folder, PASSED, None))
    second = candidate("rolled", folder, PASSED, "1")
    registry.register(second)
    client.set_registered_model_alias("rolled", "champion", "1")
    again = registry.register(second)
    assert (again.version, again.champion) == ("2", False)
    assert aliases(client, "rolled")["champion"] == "1"


def test_only_runs_without_a_version_are_left_over(
    registry: MlflowRegistry, client: MlflowClient, folder: Path
) -> None:
    """Killed and failed ones at any age, others when old; none of a version, none of a search."""
    made = registry.register(candidate("left", folder, PASSED))
    client.set_terminated(made.run_id, status="KILLED")  # a version points at it all the same
    experiment = client.get_experiment_by_name("left")
    assert experiment is not None
    now = datetime.now(UTC)
    runs = {}
    for name, age, status in (
        ("killed", 0, "KILLED"),
        ("failed", 0, "FAILED"),
        ("finished", 90, "FINISHED"),
        ("just finished", 6, "FINISHED"),
        ("trial", 0, "FAILED"),
        ("good trial", 90, "FINISHED"),
        ("old", 8, "RUNNING"),
        ("young", 6, "RUNNING"),
    ):
        began = int((now - timedelta(days=age)).timestamp() * 1000)
        tags = {} if "trial" in name else {CANDIDATE_TAG: name}
        run = client.create_run(experiment.experiment_id, start_time=began, tags=tags)
        runs[name] = run.info.run_id
        if status != "RUNNING":
            client.set_terminated(runs[name], status=status)
    found = registry.leftovers("left", now - timedelta(days=7))
    left = {runs[name] for name in ("killed", "failed", "old", "finished")}
    assert {one.run_id for one in found} == left
    assert all(registry.delete(one) for one in found)
    assert registry.leftovers("left", now - timedelta(days=7)) == []
    assert registry.leftovers("never_heard_of", now) == []
    assert client.get_run(made.run_id).info.lifecycle_stage == "active"


def test_a_finished_run_that_is_gone_on_with_is_not_left_over(
    registry: MlflowRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while its version is made, nor if it was found before; a lost one is logged again."""
    asked = candidate("gone_on_with", folder, PASSED)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    def cut_short() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(MlflowClient, "create_model_version", killed)
            with pytest.raises(SystemExit):
                registry.register(asked)

    cut_short()
    first = datetime.now(UTC)
    (found,) = registry.leftovers("gone_on_with", first)
    cut_short()
    assert registry.leftovers("gone_on_with", first) == []
    assert not registry.delete(found)
    (found,) = registry.leftovers("gone_on_with", datetime.now(UTC))
    assert registry.delete(found)
    made = registry.register(asked)
    assert (made.version, made.run_id == found.run_id) == ("1", False)


def test_the_champion_is_fetched(registry: MlflowRegistry, folder: Path, tmp_path: Path) -> None:
    """Its files come as they were registered; without a champion, or a model, there is none."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert registry.fetch_champion("crowned", empty) is None
    registry.register(candidate("crowned", folder, FAILED))
    assert registry.fetch_champion("crowned", empty) is None
    (folder / "model.onnx").write_text("the second")
    registry.register(candidate("crowned", folder, PASSED))
    registry.register(candidate("crowned", folder, FAILED))
    found = registry.fetch_champion("crowned", empty)
    assert found is not None
    assert found.version == "2"
    assert sorted(file.name for file in found.folder.iterdir()) == FILES
    assert (found.folder / "model.onnx").read_text() == "the second"


def test_history_is_oldest_first(registry: MlflowRegistry, folder: Path) -> None:
    """Each version tells how it did and whether it passed; a new model has no history."""
    assert list(registry.history("remembering")) == []
    for verdict in (FAILED, PASSED):
        registry.register(candidate("remembering", folder, verdict))
    found = registry.history("remembering")
    assert [(past.version, past.gate) for past in found] == [("1", "failed"), ("2", "passed")]
    assert [past.metrics["accuracy"] for past in found] == [0.75, 0.75]


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (MlflowException("no answer"), True),
        (MlflowException("busy", error_code=databricks_pb2.REQUEST_LIMIT_EXCEEDED), True),
        (MlflowException("no right", error_code=databricks_pb2.PERMISSION_DENIED), False),
        (ConnectionError("no route"), True),
    ],
)
def test_a_refusal_is_told_from_an_outage(
    error: Exception,
    passing: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Only what may be answered later is worth another try."""
    with pytest.raises(StateError) as told, registry_errors("an answer", "Mend it."):
        raise error
    assert told.value.passing is passing


def test_a_registry_that_cannot_be_used_is_named(folder: Path, tmp_path: Path) -> None:
    """A database that is none gives an error that says so, not one of the library's."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_text("this is no database, but text of some length")
    broken = MlflowRegistry(
        tracking_uri(Places.embedded(tmp_path)), Places.embedded(tmp_path).mlflow_artifacts
    )
    with pytest.raises(StateError, match="model registry: expected to take the trained model"):
        broken.register(candidate("broken", folder, PASSED))
    with pytest.raises(StateError, match="model registry: expected the files of the champion"):
        broken.fetch_champion("broken", tmp_path)


def test_what_the_database_refuses_is_logged_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow logs it before it raises it; a traceback of its inside would bury our own words."""
    quiet_mlflow()
    places = Places.embedded(tmp_path)
    registry = MlflowRegistry(tracking_uri(places), places.mlflow_artifacts)
    registry.check()
    with sqlite3.connect(places.mlflow.removeprefix("sqlite:///")) as database:
        database.execute("DROP TABLE registered_models")
    with pytest.raises(StateError):
        registry.check()
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "no such table" in told.getMessage()
    assert told.exc_info is None
