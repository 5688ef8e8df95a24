"""The event log is where its setting says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.settings import FeatureSettings
from shared.errors import SettingsError
from shared.settings import load_settings
from tests.features.test_eventlog import mention
from tests.redis_server import RedisServer


def pipeline(home: Path, **variables: str) -> FeaturePipeline:
    return FeaturePipeline(load_settings(FeatureSettings, {"FTI_HOME": str(home), **variables}))


def test_log_is_a_file_of_the_home_unless_set(tmp_path: Path) -> None:
    """Without a setting the log is the home's own, and stays when it is opened again."""
    for status in ("accepted", "duplicate"):
        with closing(pipeline(tmp_path).open_log()) as log:
            assert [r.status for r in log.append([mention(1)])] == [status]
    assert (tmp_path / "features" / "log.db").is_file()


def test_homes_share_a_log_on_a_server(tmp_path: Path, redis_server: RedisServer) -> None:
    """Gateways with homes of their own append to one log, with the partitions that are set."""
    where = {"FTI_FEATURES_LOG": redis_server.address, "FTI_FEATURES_PARTITIONS": "3"}
    for home, status in (("one", "accepted"), ("other", "duplicate")):
        with closing(pipeline(tmp_path / home, **where).open_log()) as log:
            assert log.partitions == 3
            assert [r.status for r in log.append([mention(1)])] == [status]


@pytest.mark.parametrize(
    "address",
    [
        "redis://:hunter2@host:port",
        "memcached://user:hunter2@host",
        "sqlite:///hunter2.db",
        "kafka://hunter2",
        "kafka://broker:9092/",
        "hunter2",
    ],
)
def test_address_of_no_log_is_refused_unseen(address: str) -> None:
    """What is no address is refused at the start; it may hold a password, so it is not shown."""
    with pytest.raises(SettingsError, match="FTI_FEATURES_LOG: expected an address") as refused:
        load_settings(FeatureSettings, {"FTI_FEATURES_LOG": address})
    assert "hunter2" not in str(refused.value)
