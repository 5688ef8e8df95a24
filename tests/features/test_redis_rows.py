"""Rows that are put into Redis past Feast: Feast reads them as if it had written them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore, FeatureView
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from feature_pipeline.definition.deltas import MOMENT
from feature_pipeline.eventlog.clock import from_micros
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import FeastRows, OnlineRows
from feature_pipeline.store.redis_rows import RedisRows
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, SUBJECT_ACTIVITY, count_columns, share_columns
from shared.redis_address import redis_client
from tests.conftest import places_on
from tests.features.conftest import small_task
from tests.redis_server import RedisServer

TASK = small_task()
COUNTS, SHARES, TIMES = count_columns(TASK), share_columns(TASK), ["first_seen", "last_seen"]
SCHEMA = {
    "subject_id": pl.String(),
    KNOWN_AT: MOMENT,
    **dict.fromkeys(COUNTS, pl.Int64()),
    **dict.fromkeys(SHARES, pl.Float64()),
    **dict.fromkeys(TIMES, MOMENT),
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
moments = st.integers(1, 2**52).map(from_micros)
rows_of_keys = st.dictionaries(
    st.sampled_from(["a", "heat", "ümläut \n'\"", "x" * 300, "\0"]),
    st.fixed_dictionaries(
        {
            KNOWN_AT: st.integers(0, 5).map(lambda micros: NOON + timedelta(microseconds=micros)),
            **dict.fromkeys(COUNTS, st.integers(-(2**63), 2**63 - 1)),
            **dict.fromkeys(SHARES, st.floats(0, 1)),
            **dict.fromkeys(TIMES, moments),
        }
    ),
    min_size=1,
)
"""Rows a microsecond apart, by subject."""


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> FeatureStore:
    """A feature store on Redis that knows the task's views."""
    places = places_on("redis", tmp_path, request)
    store = open_feature_store(places)
    apply_task(TASK, store, OfflineTables(places.offline_store))
    return store


@pytest.fixture
def client(redis_server: RedisServer) -> Any:
    return redis_client(redis_server.address)


def put(rows: OnlineRows, view: FeatureView, found: Mapping[str, Mapping[str, object]]) -> None:
    table = pl.DataFrame([{"subject_id": key, **row} for key, row in found.items()], schema=SCHEMA)
    rows.write(view, "subject_id", table)


def test_what_is_stored_is_what_feast_stores(store: FeatureStore, client: Any) -> None:
    """Whatever rows come, in whatever order of time, each field of each hash is Feast's own."""
    view = store.get_feature_view(SUBJECT_ACTIVITY)
    ours, theirs = RedisRows(client, store.project), FeastRows(store)

    @settings(max_examples=25)
    @given(st.lists(rows_of_keys, min_size=1, max_size=3))
    def holds(writes: list[dict[str, dict[str, object]]]) -> None:
        stored = []
        for rows in (ours, theirs):
            client.flushdb()
            for found in writes:
                put(rows, view, found)
            stored.append(dict(_hashes(client)))
        assert stored[0] == stored[1]

    holds()


def test_feast_reads_what_was_put(store: FeatureStore, client: Any) -> None:
    """Feast's own reader gives the values; moments as it keeps them, in seconds."""
    row = {
        KNOWN_AT: NOON,
        **{name: number for number, name in enumerate(COUNTS)},
        **dict.fromkeys(SHARES, 0.25),
        **dict.fromkeys(TIMES, NOON),
    }
    put(RedisRows(client, store.project), store.get_feature_view(SUBJECT_ACTIVITY), {"heat": row})
    found = store.get_online_features(
        [f"{SUBJECT_ACTIVITY}:{name}" for name in (*COUNTS, *SHARES, *TIMES)],
        [{"subject_id": "heat"}],
    ).to_dict()
    assert {name: values[0] for name, values in found.items()} == {
        "subject_id": "heat",
        **{name: value for name, value in row.items() if name != KNOWN_AT},
    }


def test_a_server_that_is_away_is_told(
    store: FeatureStore, client: Any, redis_server: RedisServer
) -> None:
    """The writer is told of it by an error that is worth waiting for, not of rows that are lost."""
    view = store.get_feature_view(SUBJECT_ACTIVITY)
    rows = RedisRows(client, store.project)
    row = {KNOWN_AT: NOON, **dict.fromkeys(COUNTS, 1), **dict.fromkeys(SHARES, 1.0)}
    found = {"heat": row | dict.fromkeys(TIMES, NOON)}
    redis_server.kill()
    with pytest.raises(RedisConnectionError):
        put(rows, view, found)
    redis_server.start()
    put(rows, view, found)
    assert len(dict(_hashes(client))) == 1


def _hashes(client: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    return ((name, client.hgetall(name)) for name in client.scan_iter())
