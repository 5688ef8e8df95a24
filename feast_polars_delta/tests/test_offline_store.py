"""The plug-in as Feast sees it: loaded by class path, light, and good for materialization."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.types import Int64
from pydantic import ValidationError

from feast_polars_delta import PolarsDeltaOfflineStore
from feast_polars_delta.offline_store import PolarsDeltaOfflineStoreConfig
from feast_polars_delta.tests.conftest import SUBJECT, at

DeltaTable = Callable[..., FileSource]

OPEN_FOR_ONLINE_READS = """
import sys
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config
from feast.repo_config import get_offline_config_from_type

config = get_offline_config_from_type("feast_polars_delta.PolarsDeltaOfflineStore")()
print(type(get_offline_store_from_config(config)).__name__)
print(*sorted({"polars", "deltalake"} & set(sys.modules)))
"""


def test_feast_loads_the_store_without_polars_and_delta() -> None:
    """So that a process which reads online features only needs neither."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", OPEN_FOR_ONLINE_READS],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.splitlines() == ["PolarsDeltaOfflineStore", ""], run.stderr


def test_the_store_is_the_one_that_the_configuration_names(store: FeatureStore) -> None:
    """By the path of the package, without the module in it."""
    assert isinstance(store.provider.offline_store, PolarsDeltaOfflineStore)


def test_unknown_settings_and_impossible_versions_are_refused() -> None:
    """When the configuration is read."""
    with pytest.raises(ValidationError, match="verions"):
        PolarsDeltaOfflineStoreConfig.model_validate({"verions": {"activity": 1}})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        PolarsDeltaOfflineStoreConfig(versions={"activity": -1})


def test_no_name_is_invented_for_the_package() -> None:
    """Asking for what is not there fails as in any module."""
    import feast_polars_delta

    with pytest.raises(AttributeError, match="no attribute 'PolarsOfflineStore'"):
        _ = feast_polars_delta.PolarsOfflineStore


def test_feast_materializes_the_latest_values(store: FeatureStore, delta: DeltaTable) -> None:
    """All rows reach the online store, those of later files too."""
    source = delta("t", {"subject_id": ["a", "b"], "event_timestamp": [at(0)] * 2, "n": [1, 2]})
    rows = {"subject_id": ["a", "c"], "event_timestamp": [at(9)] * 2, "n": [10, 30]}
    pl.DataFrame(rows).write_delta(source.path, mode="append")
    view = FeatureView(
        name="activity",
        entities=[SUBJECT],
        schema=[Field(name="n", dtype=Int64)],
        source=source,
    )
    store.apply([SUBJECT, view])
    store.materialize(at(-60), at(60), disable_event_timestamp=False)
    answer = store.get_online_features(
        ["activity:n"], [{"subject_id": name} for name in ("a", "b", "c", "d")]
    ).to_dict()
    assert answer["n"] == [10, 2, 30, None]
