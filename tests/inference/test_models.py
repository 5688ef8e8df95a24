"""What the server tells of its models, and how it serves several with several versions each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import InMemoryRegistry, ModelVersion
from shared.errors import SettingsError
from shared.feature_store import FeatureService
from shared.features import ServedFeature
from shared.settings import load_settings
from tests.inference.conftest import eventually, metric, running
from tests.inference.tiny_model import LABELS, TinyModel

NAMES = ("tiny", "other")


class Publishing:
    """Registers tiny versions in a registry in memory."""

    def __init__(self, settings: InferenceSettings, service: FeatureService) -> None:
        self.registry = InMemoryRegistry()
        self._folder = settings.home / "made"
        self._service = service
        self._count = 0

    def publish(self, name: str, alias: str, model: TinyModel | None = None) -> ModelVersion:
        """Register a version and let an alias name it."""
        self._count += 1
        files = (model or TinyModel()).write(self._folder / str(self._count), self._service)
        version = self.registry.register(name, files)
        self.registry.point(alias, version)
        return version


@pytest.fixture
def publishing(settings: InferenceSettings, feature_service: FeatureService) -> Publishing:
    """A registry that holds nothing yet."""
    return Publishing(settings, feature_service)


@pytest.fixture
def client(
    settings: InferenceSettings, publishing: Publishing, reader: InMemoryFeatureReader
) -> Iterator[httpx.Client]:
    """A client of a server of two models."""
    both = settings.model_copy(update={"inference_model": ",".join(NAMES)})
    app = assemble(both, registry=publishing.registry, reader=reader)
    with running(app) as client:
        yield client


def serving(client: httpx.Client, name: str) -> dict[str, str]:
    """Return the version under each alias of a model."""
    versions = client.get(f"/v1/models/{name}").json()["versions"]
    return {found["alias"]: found["version"] for found in versions}


def wait_for(client: httpx.Client, name: str, **wanted: str) -> None:
    """Wait until exactly these aliases of a model serve these versions."""
    eventually(lambda: serving(client, name), lambda found: found == wanted)


def answered_by(client: httpx.Client, **query: str) -> dict[str, str]:
    """Return which version answers."""
    answer = client.post("/v1/predict", json={"text": "late"}, params=query)
    assert answer.status_code == 200, answer.text
    model: dict[str, str] = answer.json()["model"]
    return model


def test_each_model_is_answered_by_its_own_champion(
    client: httpx.Client, publishing: Publishing
) -> None:
    """The first model is the default; others are asked for by name, and are swapped alone."""
    publishing.publish("tiny", "champion")
    publishing.publish("other", "champion")
    for name in NAMES:
        wait_for(client, name, champion="1")
    publishing.publish("other", "champion")
    wait_for(client, "other", champion="2")
    assert answered_by(client)["name"] == "tiny"
    assert answered_by(client, model="tiny")["version"] == "1"
    assert answered_by(client, model="other")["version"] == "2"


def test_the_server_is_ready_when_all_models_are(
    client: httpx.Client, publishing: Publishing
) -> None:
    """One model without a champion keeps the server from being ready, and is named."""
    publishing.publish("tiny", "champion")
    wait_for(client, "tiny", champion="1")
    waiting = client.get("/readyz")
    assert waiting.status_code == 503
    assert waiting.json()["models"] == [{"name": "tiny", "version": "1"}]
    assert {reason["place"] for reason in waiting.json()["reasons"]} == {"model other"}
    publishing.publish("other", "champion")
    eventually(lambda: client.get("/readyz").status_code, lambda status: status == 200)


def test_the_challenger_gets_its_share_of_keys(
    client: httpx.Client, publishing: Publishing
) -> None:
    """Traffic is split by the tag, a key stays on its side, and answers say who gave them."""
    publishing.publish("tiny", "champion")
    challenger = publishing.publish("tiny", "challenger", TinyModel(bias=1))
    wait_for(client, "tiny", champion="1", challenger="2")
    assert {answered_by(client, key=str(n))["alias"] for n in range(20)} == {"champion"}
    publishing.registry.tag(challenger, "traffic_share", "0.5")
    eventually(
        lambda: client.get("/v1/models/tiny").json()["challenger_share"],
        lambda share: share == 0.5,
    )
    sides = {str(n): answered_by(client, key=str(n))["version"] for n in range(40)}
    assert set(sides.values()) == {"1", "2"}
    assert {key: answered_by(client, key=key)["version"] for key in sides} == sides


def test_a_bad_share_is_told_and_counts_as_none(
    client: httpx.Client, publishing: Publishing
) -> None:
    """A tag that is no share costs the challenger its traffic, not the server its readiness."""
    publishing.publish("other", "champion")
    publishing.publish("tiny", "champion")
    challenger = publishing.publish("tiny", "challenger")
    publishing.registry.tag(challenger, "traffic_share", "half")
    # Each model looks for itself: the other one may come into service later.
    answer = eventually(
        lambda: client.get("/readyz"),
        lambda answer: answer.status_code == 200 and "traffic_share" in answer.text,
    )
    (warning,) = answer.json()["warnings"]
    assert warning["place"] == "model tiny version 2, tag traffic_share"
    assert warning["expected"] == "a number from 0 to 1"
    assert client.get("/v1/models/tiny").json()["challenger_share"] == 0


def test_aliases_come_and_go(client: httpx.Client, publishing: Publishing) -> None:
    """Challenger and shadow leave with their alias; a promoted challenger is not loaded again."""
    publishing.publish("tiny", "champion")
    challenger = publishing.publish("tiny", "challenger")
    publishing.publish("tiny", "shadow")
    wait_for(client, "tiny", champion="1", challenger="2", shadow="3")
    loaded = client.get("/v1/models/tiny/versions/2").json()["loaded_at"]
    publishing.registry.point("champion", challenger)
    publishing.registry.unpoint("tiny", "challenger")
    publishing.registry.unpoint("tiny", "shadow")
    wait_for(client, "tiny", champion="2")
    promoted = client.get("/v1/models/tiny/versions/2").json()
    assert promoted["loaded_at"] == loaded
    assert promoted["alias"] == "champion"
    gone = client.get("/v1/models/tiny/versions/3")
    assert gone.status_code == 404
    assert gone.json()["error"]["expected"] == "a version in service (2)"


def test_a_version_is_asked_for_by_its_number(client: httpx.Client, publishing: Publishing) -> None:
    """Whatever the split says, a request may name a version in service, and no other."""
    publishing.publish("tiny", "champion")
    publishing.publish("tiny", "shadow")
    wait_for(client, "tiny", champion="1", shadow="2")
    assert answered_by(client, version="2")["alias"] == "shadow"
    for query in ({"version": "7"}, {"model": "nobody"}):
        assert client.post("/v1/predict", json={"text": "a"}, params=query).status_code == 404


def test_a_model_tells_what_serves(
    client: httpx.Client, publishing: Publishing, feature_service: FeatureService
) -> None:
    """A version is described by what it reads, what it can answer and how good it was."""
    publishing.publish("tiny", "champion")
    wait_for(client, "tiny", champion="1")
    model = client.get("/v1/models/tiny").json()
    (served,) = model.pop("versions")
    assert model == {
        "name": "tiny",
        "ready": True,
        "in_use": True,
        "challenger_share": 0.0,
        "problems": [],
    }
    assert client.get("/v1/models/tiny/versions/1").json() == served
    loaded_at = datetime.fromisoformat(served.pop("loaded_at"))
    assert datetime.now(UTC) - loaded_at < timedelta(minutes=1)
    service = {"name": feature_service.name, "hash": feature_service.hash, "matches": True}
    assert served == {
        "name": "tiny",
        "version": "1",
        "alias": "champion",
        "variant": "fp32",
        "labels": LABELS,
        "feature_service": service,
        "metrics": {"accuracy": 0.75},
    }
    assert [model["name"] for model in client.get("/v1/models").json()["models"]] == list(NAMES)
    assert client.get("/v1/models/nobody").status_code == 404


def test_features_that_change_while_serving_are_not_read(
    client: httpx.Client,
    publishing: Publishing,
    reader: InMemoryFeatureReader,
    feature_service: FeatureService,
) -> None:
    """The version answers on, without features, and readiness says why until they are back."""
    for name in NAMES:
        publishing.publish(name, "champion")
        wait_for(client, name, champion="1")
    other = ServedFeature(view="subject_activity", name="mentions_24h", dtype="Float64")
    features = (other, *feature_service.features[1:])
    reader.register(
        FeatureService(
            feature_service.name, features, feature_service.ttl, feature_service.join_keys
        )
    )
    # Each model finds out at its own next look.
    answer = eventually(
        lambda: client.get("/readyz"), lambda found: len(found.json()["warnings"]) == len(NAMES)
    )
    assert answer.status_code == 200
    places = [warning["place"] for warning in answer.json()["warnings"]]
    assert any("tiny version 1, feature service tiny" in place for place in places)
    (prediction,) = client.post("/v1/predict", json={"text": "late"}).json()["predictions"]
    assert prediction["degraded"] is True
    assert {view["status"] for view in prediction["features"].values()} == {"unavailable"}
    reader.register(feature_service)
    eventually(lambda: client.get("/readyz").json()["warnings"], lambda found: not found)
    (prediction,) = client.post("/v1/predict", json={"text": "late"}).json()["predictions"]
    assert prediction["degraded"] is False


def test_what_serves_is_measured(client: httpx.Client, publishing: Publishing) -> None:
    """Each version in service is a series, and those that left are none."""
    publishing.publish("tiny", "champion")
    shadow = publishing.publish("tiny", "shadow")
    wait_for(client, "tiny", champion="1", shadow="2")
    info = 'fti_inference_model_info{{alias="{}",name="tiny",variant="fp32",version="{}"}}'
    assert metric(client, info.format("champion", 1)) == 1
    assert metric(client, info.format("shadow", 2)) == 1
    publishing.registry.point("champion", shadow)
    wait_for(client, "tiny", champion="2", shadow="2")
    assert metric(client, info.format("champion", 1)) == 0
    assert metric(client, info.format("champion", 2)) == 1


def test_models_are_listed_in_one_setting() -> None:
    """Names are separated by commas, the first is the default, and a list is no free text."""
    settings = load_settings(InferenceSettings, {"FTI_INFERENCE_MODEL": "tiny,other,tiny"})
    assert settings.inference_models == NAMES
    for wrong in ("tiny,", "tiny other", "tiny,,other", "Tiny"):
        with pytest.raises(SettingsError, match="FTI_INFERENCE_MODEL"):
            load_settings(InferenceSettings, {"FTI_INFERENCE_MODEL": wrong})
