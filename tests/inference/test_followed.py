"""One model that is followed: without its registry, after a restart, taken out and put back."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError, Versions
from shared.errors import ContractError
from shared.feature_store import FeatureService
from tests.inference.conftest import eventually
from tests.inference.registry_files import MODEL
from tests.inference.tiny_model import Int8, TinyModel
from tests.inference.versions_server import FailingRegistry, VersionsServer

Publish = Callable[..., ModelVersion]


@pytest.fixture
def server(tmp_path: Path, reader: InMemoryFeatureReader) -> VersionsServer:
    """A server that never ran, with a registry that holds nothing."""
    return VersionsServer(FailingRegistry(), reader, tmp_path / "models")


@pytest.fixture
def publish(server: VersionsServer, tmp_path: Path, feature_service: FeatureService) -> Publish:
    """Registers a version and lets an alias name it, the champion's by default."""

    def made(model: TinyModel | None = None, *, alias: str = "champion") -> ModelVersion:
        number = len(list(tmp_path.glob("made-*")))
        files = (model or TinyModel()).write(tmp_path / f"made-{number}", feature_service)
        version = server.registry.register(MODEL, files)
        server.registry.point(alias, version)
        return version

    return made


def started(server: VersionsServer) -> Versions:
    """Start a server and let it look once."""
    versions = server.start()
    versions.look()
    return versions


def serving(versions: Versions) -> dict[str | None, str]:
    """Return the number of the version under each alias."""
    return {served.alias: served.version.version for served in versions.state().served}


def problems(versions: Versions) -> str:
    """Return what is wrong, as readiness would tell it."""
    return "\n".join(map(str, versions.state().problems()))


def test_serving_goes_on_while_the_registry_is_away(
    server: VersionsServer, publish: Publish
) -> None:
    """What served serves, and a warning says that it may be out of date until it is not."""
    publish()
    versions = started(server)
    server.registry.away = True
    versions.look()
    assert serving(versions) == {"champion": "1"}
    assert "stale registry" in problems(versions)
    server.registry.away = False
    versions.look()
    assert problems(versions) == ""


def test_a_restart_without_the_registry_serves_what_served_last(
    server: VersionsServer, publish: Publish
) -> None:
    """All aliases come back from disk with the challenger's share, and the warning says so."""
    for alias in ("champion", "challenger", "shadow"):
        version = publish(alias=alias)
        if alias == "challenger":
            server.registry.tag(version, "traffic_share", "0.3")
    started(server).close()
    server.registry.away = True
    versions = started(server)
    assert serving(versions) == {"champion": "1", "challenger": "2", "shadow": "3"}
    assert versions.state().share == 0.3
    assert "stale registry" in problems(versions)
    # The registry is back, with a newer champion.
    server.registry.away = False
    publish()
    versions.look()
    assert serving(versions)["champion"] == "4"
    assert problems(versions) == ""


def test_a_registry_that_hangs_does_not_delay_a_restart(
    server: VersionsServer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the versions on disk serve, though the registry has said nothing yet."""
    publish()
    started(server).close()
    answering = threading.Event()
    aliases = server.registry.aliases

    def slow(name: str) -> object:
        answering.wait()
        return aliases(name)

    monkeypatch.setattr(server.registry, "aliases", slow)
    versions = server.start()
    versions.start()
    try:
        eventually(lambda: serving(versions), lambda found: found == {"champion": "1"})
        assert "a first look at the registry" in problems(versions)
        answering.set()
        eventually(lambda: problems(versions), lambda found: found == "")
    finally:
        answering.set()
        versions.stop()
        versions.close()


def test_what_was_refused_is_not_the_last_good_version(
    server: VersionsServer, publish: Publish
) -> None:
    """A restart serves the version that served, not the one that the alias named last."""
    publish()
    versions = started(server)
    publish(TinyModel(golden_error=0.5))
    versions.look()
    assert serving(versions) == {"champion": "1"}
    assert "tiny version 2, golden input" in problems(versions)
    versions.close()
    for away in (True, False):
        server.registry.away = away
        restarted = started(server)
        assert serving(restarted) == {"champion": "1"}
        assert restarted.state().ready
        restarted.close()


def test_a_damaged_last_good_version_is_not_served(
    server: VersionsServer, publish: Publish
) -> None:
    """Without a registry and without sound files there is nothing to serve."""
    publish()
    started(server).close()
    (file,) = server.folder.glob(f"{MODEL}/1-*/model.onnx")
    file.write_bytes(b"")
    server.registry.away = True
    versions = started(server)
    assert serving(versions) == {}
    with pytest.raises(NoVersionError, match="stale registry"), versions.lease():
        pass


def test_rolling_back_is_moving_the_alias(server: VersionsServer, publish: Publish) -> None:
    """The earlier version serves again, from disk: its artefacts are not needed."""
    first = publish()
    versions = started(server)
    server.registry.point("previous", first)
    publish()
    versions.look()
    server.registry.artifacts_away = True
    server.registry.point("champion", first)
    versions.look()
    assert serving(versions) == {"champion": "1"}
    assert problems(versions) == ""


def test_versions_that_nobody_names_leave_the_disk(
    server: VersionsServer, publish: Publish
) -> None:
    """What serves and the previous champion stay, to be served again without a download."""
    versions = server.start()
    for number in range(4):
        published = publish()
        versions.look()
        if number == 1:
            server.registry.point("previous", published)
    versions.look()
    kept = {path.name.split("-")[0] for path in (server.folder / MODEL).glob("*-*")}
    assert kept == {"2", "4"}


def test_files_that_cannot_be_had_stop_one_alias_only(
    server: VersionsServer, publish: Publish
) -> None:
    """A challenger whose download fails waits; the champion, which is on disk, is swapped."""
    first = publish()
    versions = started(server)
    publish()
    versions.look()
    server.registry.point("champion", first)
    publish(alias="challenger")
    server.registry.artifacts_away = True
    versions.look()
    assert serving(versions)["champion"] == "2"
    assert "artefacts" in problems(versions)
    server.registry.artifacts_away = False
    versions.look()
    assert serving(versions) == {"champion": "1", "challenger": "3"}
    assert problems(versions) == ""


def test_a_disk_that_fails_is_told_and_outlived(server: VersionsServer, publish: Publish) -> None:
    """What serves goes on; aliases are followed, and remembered as soon as the disk takes it."""
    first = publish()
    versions = started(server)
    shutil.rmtree(server.folder / MODEL)
    (server.folder / MODEL).write_text("a file is in the way")
    server.registry.point("challenger", first)
    versions.look()
    assert serving(versions) == {"champion": "1", "challenger": "1"}
    assert "this machine's disk" in problems(versions)
    (server.folder / MODEL).unlink()
    versions.look()
    assert problems(versions) == ""
    assert [path.name for path in (server.folder / MODEL).iterdir()] == ["last_good.json"]


def test_a_model_is_taken_out_and_put_back(server: VersionsServer, publish: Publish) -> None:
    """Out of service it is out, whatever aliases do; who holds a version can finish with it."""
    publish()
    versions = started(server)
    with versions.lease() as served:
        versions.unload(MODEL)
        publish()
        versions.look()
        assert serving(versions) == {}
        assert not served.model.closed
        for number in (None, "1"):
            with pytest.raises(NoVersionError, match="taken out"), versions.lease(MODEL, number):
                pass
    assert served.model.closed
    versions.load(MODEL)
    assert serving(versions) == {"champion": "2"}


def test_a_model_that_is_being_loaded_says_so(
    server: VersionsServer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it serves again, readiness has a reason to tell."""
    publish()
    versions = started(server)
    versions.unload(MODEL)
    aliases = server.registry.aliases
    told = []

    def asked(name: str) -> object:
        told.append(problems(versions))
        return aliases(name)

    monkeypatch.setattr(server.registry, "aliases", asked)
    assert versions.load(MODEL).ready
    assert ["under way" in problem for problem in told] == [True]
    assert problems(versions) == ""


def test_loading_asks_again_for_what_was_refused(
    server: VersionsServer, publish: Publish, tmp_path: Path
) -> None:
    """A refused version is tried once, and once more when somebody asks for it."""
    publish()
    file = tmp_path / "made-0" / "model.onnx"
    sound = file.read_bytes()
    file.write_bytes(b"")
    versions = started(server)
    file.write_bytes(sound)
    versions.look()
    assert not versions.state().ready
    assert versions.load(MODEL).ready


def test_a_version_is_loaded_by_its_number(server: VersionsServer, publish: Publish) -> None:
    """It serves beside the champion for those who name it, if it passes the same checks."""
    publish()
    publish()
    publish(TinyModel(golden_error=0.5))
    server.registry.point("champion", ModelVersion(MODEL, "2", 2))
    versions = started(server)
    versions.load(MODEL, "1")
    versions.look()
    assert serving(versions) == {"champion": "2", None: "1"}
    with versions.lease(MODEL, "1") as served:
        assert (served.version.version, served.alias) == ("1", None)
    with pytest.raises(ContractError, match="golden"):
        versions.load(MODEL, "3")
    with pytest.raises(UnknownModelError, match="a registered version"):
        versions.load(MODEL, "7")
    assert serving(versions) == {"champion": "2", None: "1"}


def test_a_feature_store_that_is_down_changes_nothing(
    server: VersionsServer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether features still match cannot be told then: the version serves as it did."""
    publish()
    versions = started(server)

    def down(_: str) -> FeatureService:
        raise ConnectionError

    with monkeypatch.context() as changed:
        changed.setattr(server.reader, "describe", down)
        versions.look()
        assert serving(versions) == {"champion": "1"}
        assert "feature store" in problems(versions)
        champion = versions.state().champion
        assert champion is not None
        assert champion.mismatch is None
    versions.look()
    assert problems(versions) == ""


def test_a_variant_that_answers_otherwise_is_told(server: VersionsServer, publish: Publish) -> None:
    """Full precision serves in its place, and the warning names no path of this machine."""
    publish(TinyModel(int8=Int8(error=0.3)))
    versions = started(server)
    champion = versions.state().champion
    assert champion is not None
    assert champion.model.variant == "fp32"
    assert problems(versions).startswith("tiny version 1, variant int8, golden input")
