"""Settings: read once, refused when they make no sense."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from feature_pipeline.settings import FeatureSettings
from inference_pipeline.settings import InferenceSettings
from shared.errors import SettingsError
from shared.places import Places
from shared.settings import Settings, load_settings
from training_pipeline.settings import TrainingSettings

KINDS = [Settings, FeatureSettings, TrainingSettings, InferenceSettings]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_variable_stops_the_start(kind: type[Settings]) -> None:
    """A misspelt name is refused, with the name that was meant."""
    with pytest.raises(SettingsError, match="Did you mean FTI_HOME"):
        load_settings(kind, {"FTI_HOMES": "x"})


def test_variables_of_other_services_are_left_alone() -> None:
    """Each service knows its own variables and the common ones; others may be set beside them."""
    environment = {"FTI_HOME": "home", "FTI_FEATURES_PORT": "1", "FTI_INFERENCE_PORT": "2"}
    assert load_settings(FeatureSettings, environment).features_port == 1
    assert load_settings(InferenceSettings, environment).inference_port == 2
    assert load_settings(TrainingSettings, environment).home == Path.cwd() / "home"
    with pytest.raises(SettingsError, match="FTI_FEATURES_PROT"):
        load_settings(FeatureSettings, {"FTI_FEATURES_PROT": "1"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FTI_FEATURES_PORT", "eight", "a valid integer"),
        ("FTI_FEATURES_PORT", "99999", "less than or equal to 65535"),
        ("FTI_LOG_FORMAT", "xml", "'auto', 'json' or 'human'"),
        ("FTI_FEATURES_POLL_SECONDS", "0", "greater than 0"),
        ("FTI_FEATURES_POLL_SECONDS", "1e300", "less than or equal to 31536000"),
        ("FTI_FEATURES_HEARTBEAT_SECONDS", "inf", "a finite number"),
    ],
)
def test_bad_value_is_named(name: str, value: str, expected: str) -> None:
    """A value of no use is refused with the variable, what was expected and what was found."""
    with pytest.raises(SettingsError) as raised:
        load_settings(FeatureSettings, {name: value})
    assert raised.value.place == f"environment variable {name}"
    assert expected in raised.value.expected
    assert value in raised.value.found


@pytest.mark.parametrize(
    "home", ["", " ", "with space", "ümlaut", "a[1]", "/dev/null", "/dev/null/x"]
)
def test_home_that_cannot_be_used_is_refused(home: str) -> None:
    """A home that cannot be written, or whose path Delta could not read, stops the start."""
    with pytest.raises(SettingsError, match="FTI_HOME"):
        load_settings(Settings, {"FTI_HOME": home})


def test_without_addresses_everything_lies_under_the_home(tmp_path: Path) -> None:
    """The embedded mode is what no setting changed."""
    assert load_settings(Settings, {"FTI_HOME": str(tmp_path)}).places == Places.embedded(tmp_path)


def test_each_store_can_be_a_server(tmp_path: Path) -> None:
    """An address that is set takes the place of the file under the home, and of no other."""
    environment = {
        "FTI_HOME": str(tmp_path),
        "FTI_ONLINE_STORE": "redis://redis:6380/1",
        "FTI_FEATURE_REGISTRY": "postgresql+psycopg://fti:secret@db/feast",
        "FTI_OFFLINE_STORE": "s3://features/offline/",
        "FTI_MLFLOW_URI": "http://mlflow:5000",
    }
    assert load_settings(InferenceSettings, environment).places == Places(
        online_store="redis://redis:6380/1",
        feature_registry="postgresql+psycopg://fti:secret@db/feast",
        offline_store="s3://features/offline",
        mlflow="http://mlflow:5000",
        mlflow_artifacts=None,
    )
    alone = load_settings(Settings, {"FTI_HOME": str(tmp_path), "FTI_OFFLINE_STORE": "tables"})
    embedded = Places.embedded(tmp_path)
    assert alone.places == replace(embedded, offline_store=str(Path.cwd() / "tables"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FTI_ONLINE_STORE", "memcached://user:hunter2@host"),
        ("FTI_ONLINE_STORE", "redis://:hunter2@host:port"),
        ("FTI_ONLINE_STORE", "redis://:hunter2@host/first"),
        ("FTI_ONLINE_STORE", "redis://:hunter2@"),
        ("FTI_ONLINE_STORE", "redis://:hunter2@[::1"),
        ("FTI_ONLINE_STORE", "redis://host,password=hunter2"),
        ("FTI_FEATURE_REGISTRY", "user:hunter2@host"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti:p@hunter2@host/feast"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti:p@hunter2/x@host/feast"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti:hunter2/feast"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti@host:hunter2/feast"),
        ("FTI_FEATURE_REGISTRY", "postgresql:///fti:hunter2@host"),
        ("FTI_FEATURE_REGISTRY", "postgresql://fti:x@host/feast hunter2"),
        ("FTI_MLFLOW_URI", "http://user:hunter2@host"),
        ("FTI_MLFLOW_URI", "postgresql://user:hunter2@host/mlflow"),
        ("FTI_OFFLINE_STORE", "s3://key:hunter2@bucket"),
        ("FTI_OFFLINE_STORE", "gs://bucket"),
        ("FTI_OFFLINE_STORE", "s3://bucket/with space"),
        ("FTI_INFERENCE_TRACES", "http://user:hunter2@host"),
    ],
)
def test_address_of_no_use_is_refused_without_its_password(name: str, value: str) -> None:
    """The error names the variable and what was expected; no trace of it shows the password."""
    with pytest.raises(SettingsError, match=name) as raised:
        load_settings(InferenceSettings, {name: value})
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_no_text_of_settings_or_places_shows_a_password() -> None:
    """They may stand in a log."""
    settings = load_settings(
        Settings,
        {
            "FTI_ONLINE_STORE": "rediss://fti:hunter2@redis",
            "FTI_FEATURE_REGISTRY": "postgresql://fti:hunter2@db/feast",
        },
    )
    for shown in (settings, settings.places):
        assert "hunter2" not in f"{shown} {shown!r}"


def test_an_offline_folder_is_judged_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the home is: a plain name in a folder that Delta cannot read does not help."""
    folder = tmp_path / "with space"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match="FTI_OFFLINE_STORE"):
        load_settings(Settings, {"FTI_HOME": str(tmp_path), "FTI_OFFLINE_STORE": "tables"})


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("FTI_INFERENCE_LOG_COMMIT_ROWS", "101", "FTI_INFERENCE_LOG_SPOOL_ROWS"),
        ("FTI_INFERENCE_MAX_BATCH", "101", "FTI_INFERENCE_LOG_BUFFER_ROWS"),
    ],
)
def test_limits_of_the_prediction_log_agree(name: str, value: str, limit: str) -> None:
    """A limit that another one makes impossible is refused, and both are named."""
    with pytest.raises(SettingsError, match=f"{name}: expected at most {limit}, which is 100,"):
        load_settings(InferenceSettings, {name: value, limit: "100"})
    load_settings(InferenceSettings, {name: "100", limit: "100"})
