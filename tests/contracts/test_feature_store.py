"""The feature store as several processes and Feast's own tools meet in it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Int64
from redis.exceptions import AuthenticationError

from shared.errors import StateError
from shared.feature_store import (
    FeatureRegistryAwayError,
    FeatureRegistryError,
    open_feature_store,
    read_feature_service,
)
from shared.places import Places
from tests.conftest import places_on, running_redis

SUBJECT = Entity(name="subject", join_keys=["subject_id"], value_type=ValueType.STRING)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

APPLY = """
import sys
from pathlib import Path
from tests.contracts.test_feature_store import SUBJECT, view
from shared.feature_store import open_feature_store
from shared.places import Places

home, name = Path(sys.argv[1]), sys.argv[2]
store = open_feature_store(Places.embedded(home))
print("ready", flush=True)
sys.stdin.readline()
store.apply([SUBJECT, view(home, name)])
"""


def view(home: Path, name: str) -> FeatureView:
    """Return a view of one integer feature."""
    return FeatureView(
        name=name,
        entities=[SUBJECT],
        ttl=timedelta(0),
        schema=[Field(name="n", dtype=Int64)],
        source=FileSource(
            name=name,
            path=str(home / name),
            timestamp_field="event_timestamp",
            file_format=DeltaFormat(),
        ),
    )


@pytest.fixture(params=["sqlite", "redis"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """Every online store that a setting can name; one suite holds them to the same."""
    return places_on(request.param, tmp_path, request)


@pytest.fixture
def store(places: Places, tmp_path: Path) -> FeatureStore:
    """A store with a view ``counts``, of which subject a has a row online and offline."""
    rows = pd.DataFrame({"subject_id": ["a"], "n": [7], "event_timestamp": [NOON]})
    pl.from_pandas(rows).write_delta(tmp_path / "counts")
    store = open_feature_store(places)
    store.apply([SUBJECT, view(tmp_path, "counts")])
    store.refresh_registry()
    store.write_to_online_store("counts", df=rows)
    return store


def online(store: FeatureStore) -> list[int | None]:
    """Return the feature of subject a as serving reads it."""
    answer = store.get_online_features(["counts:n"], [{"subject_id": "a"}])
    values: list[int | None] = answer.to_dict()["n"]
    return values


def test_processes_that_apply_at_once_lose_nothing(tmp_path: Path) -> None:
    """Feast's file registry would keep the last one's objects only."""
    open_feature_store(Places.embedded(tmp_path)).refresh_registry()
    command = [sys.executable, "-W", "ignore", "-c", APPLY, str(tmp_path)]
    pipe = subprocess.PIPE
    appliers = [
        subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, text=True)
        for name in ("first", "second")
    ]
    for applier in appliers:
        assert applier.stdout is not None
        assert applier.stdout.readline() == "ready\n"
    for applier in appliers:
        applier.communicate("go\n", timeout=60)
        assert applier.returncode == 0
    store = open_feature_store(Places.embedded(tmp_path))
    store.refresh_registry()
    assert {found.name for found in store.list_feature_views()} == {"first", "second"}


def test_an_open_store_sees_a_service_that_another_applied(
    store: FeatureStore, places: Places
) -> None:
    """Its registry is cached, so reading a service asks anew."""
    with pytest.raises(StateError, match="expected a feature service 'model'"):
        read_feature_service(store, "model")
    other = open_feature_store(places)
    other.apply([FeatureService(name="model", features=[other.get_feature_view("counts")])])
    assert [feature.name for feature in read_feature_service(store, "model").features] == ["n"]


def test_online_reads_go_on_while_somebody_materializes(
    store: FeatureStore, places: Places
) -> None:
    """Twice, since only a view that was materialized before has a state to leave."""
    other = open_feature_store(places)

    def materialize() -> None:
        for day in (1, 2):
            other.materialize(NOON - timedelta(days=1), NOON + timedelta(days=day))

    with ThreadPoolExecutor() as threads:
        materialized = threads.submit(materialize)
        reads = 0
        while not (materialized.done() and reads):
            store.refresh_registry()
            assert online(store) == [7]
            reads += 1
        materialized.result()


def test_materializing_with_feasts_own_command_gives_the_latest_values(
    store: FeatureStore, tmp_path: Path
) -> None:
    """The offline store hands over what Feast writes online."""
    later = pl.DataFrame(
        {"subject_id": ["a"], "n": [9], "event_timestamp": [NOON + timedelta(hours=1)]}
    )
    later.write_delta(tmp_path / "counts", mode="append")
    store.materialize(NOON - timedelta(days=1), NOON + timedelta(days=1))
    assert online(store) == [9]


def test_a_damaged_registry_is_named(tmp_path: Path) -> None:
    """Whoever starts a service learns which database to mend."""
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast" / "registry.db").write_text("this is no database, but text of some length")
    places = Places.embedded(tmp_path)
    store = open_feature_store(places)
    with pytest.raises(FeatureRegistryError, match=r"registry\.db: expected a sound d") as damaged:
        read_feature_service(store, "model")
    assert not isinstance(damaged.value, FeatureRegistryAwayError)  # waiting would not mend it


@pytest.mark.parametrize("password", ["hunter2", "12345", "a,b=c:d@e/f g%20"])
def test_a_password_reaches_redis_as_it_is(tmp_path: Path, password: str) -> None:
    """Feast's way of writing an address would cut it at commas, and make a number of digits."""
    with running_redis(tmp_path / "redis", password=password) as server:
        places = replace(Places.embedded(tmp_path), online_store=server.address)
        store = open_feature_store(places)
        store.apply([SUBJECT, view(tmp_path, "counts")])
        store.refresh_registry()
        assert online(store) == [None]
        stranger = replace(places, online_store=f"redis://127.0.0.1:{server.port}")
        with pytest.raises(AuthenticationError):
            online(open_feature_store(stranger))


def test_a_registry_without_its_driver_says_what_to_install(tmp_path: Path) -> None:
    """The setting is named, and what is missing; nothing of the address."""
    places = replace(
        Places.embedded(tmp_path), feature_registry="oracle+oracledb://fti:secret@db/feast"
    )
    with pytest.raises(FeatureRegistryError, match=r"FTI_FEATURE_REGISTRY.*oracledb") as refused:
        read_feature_service(open_feature_store(places), "nosuch")
    assert "secret" not in str(refused.value)
