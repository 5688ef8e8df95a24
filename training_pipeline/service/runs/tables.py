"""The tables in which runs are kept, on SQLite and on Postgres alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    inspect,
    text,
)
from sqlalchemy.schema import CreateColumn


class UtcTime(TypeDecorator[datetime]):
    """A moment: with its zone on Postgres; SQLite, which has no type for it, holds it as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the database takes."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's
    ) -> datetime | None:
        """Return a moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Any]):
    """Anything that JSON holds, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Return JSON."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's
        """Return what the JSON says."""
        return None if value is None else json.loads(value)


metadata = MetaData()

runs = Table(
    "training_runs",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, unique=True),
    Column("idempotency_key", String(300), unique=True),
    Column("reason", Text, nullable=False),
    Column("queue", String(64), nullable=False),
    Column("overrides", Document, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(32)),
    Column("progress", Float, nullable=False),
    Column("metrics", Document, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lost_workers", Integer, nullable=False),
    Column("delays", Integer, nullable=False),
    Column("worker", String(200)),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("seconds", Float),
    Column("result", Document),
    Column("error", Document),
    Column("lease_until", UtcTime),
    # What was added after the first stores were made needs a default: see `make_tables`.
    Column("registration_begun", Boolean, nullable=False, server_default=false()),
    Column("sent_at", UtcTime),
    Column("last_event", Integer, nullable=False),
    sqlite_autoincrement=True,
)
# Few runs are not final, and they are what workers look for every few seconds.
Index(
    "training_runs_open",
    runs.c.state,
    runs.c.position,
    sqlite_where=text("finished_at IS NULL"),
    postgresql_where=text("finished_at IS NULL"),
)

events = Table(
    "training_run_events",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", Document, nullable=False),
)

workers = Table(
    "training_workers",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("queues", Document, nullable=False),
    Column("heard_at", UtcTime, nullable=False),
)


def make_tables(database: Connection) -> None:
    """Make the tables that are missing, and the column that earlier ones lack."""
    metadata.create_all(database)
    added = runs.c.registration_begun
    if added.name not in {column["name"] for column in inspect(database).get_columns(runs.name)}:
        column = CreateColumn(added).compile(database)
        database.execute(text(f"ALTER TABLE {runs.name} ADD COLUMN {column}"))
