"""One suite over every implementation of the port FeatureReader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from inference_pipeline.features.reader import (
    FeastFeatureReader,
    FeatureReader,
    InMemoryFeatureReader,
)
from inference_pipeline.versions.served import store_hash
from shared.errors import StateError
from shared.feature_store import FeatureRegistryError, FeatureService, open_feature_store
from shared.places import Places
from tests.conftest import places_on
from tests.inference import feast_store

Put = Callable[[str, str, datetime, Mapping[str, float | None]], None]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "redis", "memory"])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, feature_service: FeatureService
) -> tuple[FeatureReader, Put]:
    """A reader, and how a row comes into its store: role, entity, known_at, values."""
    if request.param == "memory":
        memory = InMemoryFeatureReader(feature_service)
        return memory, lambda role, *row: memory.put(f"{role}_activity", *row)
    places = places_on(request.param, tmp_path, request)
    store = feast_store.open_store(tmp_path, places)
    return FeastFeatureReader(store), lambda *row: feast_store.write(store, *row)


def test_describes_the_service(
    filled: tuple[FeatureReader, Put], feature_service: FeatureService
) -> None:
    """Features, ttl and join keys come as registered, and so does the hash."""
    found = filled[0].describe(feast_store.SERVICE)
    assert found == feature_service
    assert found.hash == feature_service.hash


def test_an_unknown_service_is_a_state_error(filled: tuple[FeatureReader, Put]) -> None:
    """A service that nobody registered is named in the error."""
    with pytest.raises(StateError, match="'nosuch'"):
        filled[0].describe("nosuch")


def test_a_registry_that_cannot_be_read_is_no_missing_service(tmp_path: Path) -> None:
    """Nobody knows what stands in it, so a version must not be refused for it."""
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast" / "registry.db").write_text("this is no database, but text of some length")
    reader = FeastFeatureReader(open_feature_store(Places.embedded(tmp_path)))
    with pytest.raises(FeatureRegistryError, match=r"registry\.db: expected a sound database"):
        store_hash(reader, feast_store.SERVICE)


def test_rows_come_in_the_order_asked(
    filled: tuple[FeatureReader, Put], feature_service: FeatureService
) -> None:
    """Each mention gets its own entity's values, also when entities repeat or are unknown."""
    reader, put = filled
    put("subject", "united", NOON, {"mentions_24h": 3, "share_positive_24h": 0.25})
    put("subject", "apple", NOON, {"mentions_24h": 7, "share_positive_24h": 0.5})
    put("source", "ann", NOON + timedelta(hours=1), {"mentions_24h": 1, "share_positive_24h": 1.0})
    rows = reader.read(
        feature_service,
        [
            {"subject_id": "apple", "source_id": "nobody"},
            {"subject_id": "united", "source_id": "ann"},
            {"subject_id": "nothing", "source_id": "ann"},
            {"subject_id": "apple", "source_id": "ann"},
        ],
    )
    nan = np.nan
    np.testing.assert_array_equal(
        rows.values,
        np.array(
            [[7, 0.5, nan, nan], [3, 0.25, 1, 1], [nan, nan, 1, 1], [7, 0.5, 1, 1]], np.float32
        ),
    )
    one = NOON + timedelta(hours=1)
    assert rows.known_at == {
        "subject_activity": [NOON, NOON, None, NOON],
        "source_activity": [None, one, one, one],
    }


def test_a_null_in_a_known_row_is_nan(
    filled: tuple[FeatureReader, Put], feature_service: FeatureService
) -> None:
    """A row whose share is not known yet is still a row, with its time."""
    reader, put = filled
    put("subject", "united", NOON, {"mentions_24h": 3, "share_positive_24h": None})
    rows = reader.read(feature_service, [{"subject_id": "united", "source_id": "nobody"}])
    assert rows.known_at["subject_activity"] == [NOON]
    np.testing.assert_array_equal(rows.values[0, :2], np.array([3, np.nan], np.float32))


def test_a_newer_row_replaces_the_older(
    filled: tuple[FeatureReader, Put], feature_service: FeatureService
) -> None:
    """The latest row is the one that is read."""
    reader, put = filled
    put("source", "ann", NOON, {"mentions_24h": 1, "share_positive_24h": 0.0})
    put("source", "ann", NOON + timedelta(minutes=1), {"mentions_24h": 2, "share_positive_24h": 0})
    rows = reader.read(feature_service, [{"subject_id": "nothing", "source_id": "ann"}])
    assert rows.values[0, 2] == 2
    assert rows.known_at["source_activity"] == [NOON + timedelta(minutes=1)]
