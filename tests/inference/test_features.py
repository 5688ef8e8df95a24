"""One suite over every implementation of the port FeatureReader."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_pipeline.bootstrap import feature_reader
from inference_pipeline.features.reader import FeatureReader, InMemoryFeatureReader
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
    return feature_reader(store, places), lambda *row: feast_store.write(store, *row)


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
    places = Places.embedded(tmp_path)
    reader = feature_reader(open_feature_store(places), places)
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


def test_a_file_that_is_written_is_waited_for(
    tmp_path: Path, feature_service: FeatureService
) -> None:
    """While a writer commits, whoever cannot wait is told so; then the rows are there at once."""
    places = Places.embedded(tmp_path)
    store = feast_store.open_store(tmp_path, places)
    reader = feature_reader(store, places)
    feast_store.write(store, "source", "ann", NOON, {"mentions_24h": 1, "share_positive_24h": 0.0})
    ann = [{"subject_id": "nothing", "source_id": "ann"}]
    with closing(sqlite3.connect(places.online_store.removeprefix("sqlite:///"))) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert reader.read_now(feature_service, ann) is None
        writer.execute("COMMIT")
    rows = reader.read_now(feature_service, ann)
    assert rows is not None
    np.testing.assert_array_equal(rows.values, reader.read(feature_service, ann).values)


ENTITIES = st.sampled_from(["a", "b", "c", "ümläut \n'\"", "x" * 300])
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["subject", "source"]), ENTITIES),
    st.tuples(st.integers(0, 10**9), st.integers(-(2**62), 2**62), st.none() | st.floats(0, 1)),
    max_size=6,
)
"""By role and entity: seconds after noon, mentions, share."""


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
def test_what_is_read_is_what_feast_reads(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest, feature_service: FeatureService
) -> None:
    """Whatever is written, our way through the store's layout gives what Feast's own gives."""
    places = places_on(backend, tmp_path, request)
    store = feast_store.open_store(tmp_path, places)
    reader = feature_reader(store, places)
    examples = count()

    @settings(max_examples=25)
    @given(ROWS, st.lists(st.tuples(ENTITIES, ENTITIES), min_size=1, max_size=9))
    def holds(
        rows: dict[tuple[str, str], tuple[int, int, float | None]], asked: list[tuple[str, str]]
    ) -> None:
        example = next(examples)  # entities of its own: the store keeps what came before
        known = {}
        for (role, entity), (seconds, mentions, share) in rows.items():
            moment = known[role, f"{example} {entity}"] = NOON + timedelta(seconds=seconds)
            values = {"mentions_24h": mentions, "share_positive_24h": share}
            feast_store.write(store, role, f"{example} {entity}", moment, values)
        entities = [
            {"subject_id": f"{example} {subject}", "source_id": f"{example} {source}"}
            for subject, source in asked
        ]
        found = reader.read(feature_service, entities)
        theirs = store.get_online_features(
            features=store.get_feature_service(feast_store.SERVICE),
            entity_rows=[*entities],
            full_feature_names=True,
        ).to_dict()
        columns = [
            theirs[f"{feature.view}__{feature.name}"] for feature in feature_service.features
        ]
        np.testing.assert_array_equal(found.values, np.array(columns, np.float32).T)
        for role in ("subject", "source"):
            assert found.known_at[f"{role}_activity"] == [
                known.get((role, entity[f"{role}_id"])) for entity in entities
            ]

    holds()
