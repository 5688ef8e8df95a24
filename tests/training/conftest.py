"""Fixtures of the training tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.postgres_server import PostgresServer, running_postgres
from tests.training.sample import fill_feature_store, sample_mentions, texts_and_labels
from tests.training.tiny_encoder import make_tiny_encoder

if TYPE_CHECKING:
    from feast import FeatureStore

MENTIONS = 120


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny encoder that knows the sample's words."""
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder"), texts_and_labels(200)[0])


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Keep this process on a core, since threads wait long for each other on a busy machine."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose feature store holds labelled mentions. Only read it, or train into it."""
    home = tmp_path_factory.mktemp("home")
    fill_feature_store(home, *sample_mentions(MENTIONS))
    return home


@pytest.fixture(scope="session")
def filled_store(filled_home: Path) -> FeatureStore:
    """The feature store of the filled home."""
    from shared.feature_store import open_feature_store
    from shared.places import Places

    return open_feature_store(Places.embedded(filled_home))


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """A running Postgres server."""
    with running_postgres() as server:
        yield server
