"""Settings: read once, refused when they make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_pipeline.settings import FeatureSettings
from inference_pipeline.settings import InferenceSettings
from shared.errors import SettingsError
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
