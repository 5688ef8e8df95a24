"""The store of runs in a database: what only a file or a server can do to it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from shared.errors import SettingsError, StateError
from tests.postgres_server import PostgresServer, running_postgres
from tests.training.run_samples import LEASE, NOW, change, queued
from training_pipeline.service.runs import engine
from training_pipeline.service.runs.run import new_run
from training_pipeline.service.runs.sql import SqlRunStore
from training_pipeline.service.runs.transitions import begin_registration, claim


def test_runs_outlive_the_process(tmp_path: Path) -> None:
    """A store that opens the same file sees the runs of the one before."""
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    with closing(SqlRunStore(address)) as first:
        run = first.add(new_run("x", NOW), "key")
    with closing(SqlRunStore(address)) as second:
        assert second.get(run.run_id) == run
        assert second.add(new_run("y", NOW), "key") == run


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_store_of_an_earlier_release_is_used(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Its tables get what was added since, and its runs are there."""
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    if kind == "postgres":
        address = request.getfixturevalue("postgres_server").database()
    with closing(SqlRunStore(address)) as earlier:
        run = queued(earlier)
    engine = sqlalchemy.create_engine(address)
    with engine.begin() as database:
        drop = "ALTER TABLE training_runs DROP COLUMN registration_begun"
        database.execute(sqlalchemy.text(drop))
    engine.dispose()
    with closing(SqlRunStore(address)) as store:
        assert store.get(run.run_id) == run
        assert change(store, run, claim("w", NOW, LEASE)) is not None
        begun = change(store, run, begin_registration("w", NOW, LEASE))
        assert begun is not None
        assert begun.registration_begun


def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    """Every call fails with an error that says where, when the file is no database any more."""
    store = SqlRunStore(f"sqlite:///{tmp_path / 'runs.db'}")
    store.check()
    store.close()
    (tmp_path / "runs.db").write_bytes(b"no database, but bytes of some length" * 400)
    with pytest.raises(StateError, match=r"sqlite, database /.*/runs\.db.*file is not a database"):
        store.check()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://u:hunter2@h/db", "expected sqlite:///… or postgresql.*, found mysql://"),
        ("postgresql+none://u:hunter2@h/db", "driver is installed.*postgresql.none"),
        ("postgresql+pg8000://u:hunter2@h/db", "driver is installed.*'pg8000'"),
    ],
)
def test_a_database_without_its_driver_is_refused(address: str, words: str) -> None:
    """It is told as a mistake in the settings, without the password, before anything connects."""
    with pytest.raises(SettingsError, match=f"FTI_TRAINING_RUNS.*{words}") as told:
        SqlRunStore(address)
    assert "hunter2" not in str(told.value)


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    """The error names the kind of database, not who or what opens it."""
    store = SqlRunStore("postgresql+psycopg://fti:hunter2@127.0.0.1:1/training")
    with pytest.raises(StateError, match="postgresql, database training") as told:
        store.get("x")
    assert "hunter2" not in str(told.value)


def test_a_postgres_that_hangs_is_given_up(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a row that is held for ever hears of it, and goes on when it is free."""
    monkeypatch.setattr(engine, "_ANSWER_SECONDS", 0.5)
    address = postgres_server.database()
    with closing(SqlRunStore(address)) as store:
        run = queued(store)
        with closing(psycopg.connect(address.replace("+psycopg", ""))) as holder:
            holder.execute("SELECT 1 FROM training_runs FOR UPDATE")
            with pytest.raises(StateError, match="a sound database that answers"):
                change(store, run, claim("w", NOW, LEASE))
        assert change(store, run, claim("w", NOW, LEASE)) is not None


def test_a_postgres_that_comes_back_is_used_again() -> None:
    """Nothing is lost with it, and nobody has to be started anew."""
    with running_postgres() as server, closing(SqlRunStore(server.database())) as store:
        run = queued(store)
        server.stop()
        with pytest.raises(StateError):
            store.get(run.run_id)
        server.start()
        assert store.get(run.run_id) == run
