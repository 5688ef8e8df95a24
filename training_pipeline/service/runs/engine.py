"""SQLAlchemy's engine for the database of runs: how long is waited, how transactions begin."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import NoSuchModuleError

from shared.errors import SettingsError

READING = "fti_reading"
"""Option of a connection: it only reads."""
_PLACE = "environment variable FTI_TRAINING_RUNS"
_BUSY_SECONDS = 10.0
_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10.0
"""Any statement takes milliseconds; one that takes so long is held up."""


def open_engine(address: str) -> Engine:
    """Return SQLAlchemy's engine for an address; nothing is connected yet.

    Raises:
        SettingsError: it is of another kind of database, or its driver is not installed.
    """
    kind = make_url(address).get_backend_name()
    if kind not in {"sqlite", "postgresql"}:
        raise SettingsError(
            _PLACE, expected="sqlite:///… or postgresql+psycopg://…", found=f"{kind}://"
        )
    try:
        if kind == "sqlite":
            return _sqlite(address)
        return create_engine(address, pool_pre_ping=True, connect_args=_postgres_limits())
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise SettingsError(
            _PLACE,
            expected="a database whose driver is installed",
            found=str(error),
            remedy='For PostgreSQL: pip install "psycopg[binary]", and postgresql+psycopg://…',
        ) from error


def _sqlite(address: str) -> Engine:
    engine = create_engine(address, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver begins no transactions by itself: below they begin as it is right for each.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # At once for writing: a transaction that begins by reading may be refused later.
        reading = connection.get_execution_options().get(READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgres_limits() -> dict[str, Any]:
    """Return libpq's parameters with which a server, or a network, that hangs is given up."""
    answer = int(_ANSWER_SECONDS * 1000)
    return {
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": answer,
        "options": f"-c statement_timeout={answer} -c lock_timeout={answer}",
    }
