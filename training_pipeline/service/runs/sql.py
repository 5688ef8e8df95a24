"""Runs kept in an SQL database: an SQLite file or a Postgres server."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from shared.errors import StateError
from shared.places import make_folder_of
from shared.sql_address import shown_database
from training_pipeline.service.runs.engine import READING, open_engine
from training_pipeline.service.runs.run import Run, RunEvent, RunState, WorkerSign, event_of
from training_pipeline.service.runs.store import SECONDS, Durations, Figures
from training_pipeline.service.runs.tables import events, make_tables, runs, workers
from training_pipeline.service.runs.transitions import Transition

_SCHEMA_LOCK = 0x465449
"""Any number: whoever makes the tables on Postgres holds it."""


class SqlRunStore:
    """Keeps runs by the address of a database; see ``RunStore``. It connects when first used."""

    def __init__(self, address: str) -> None:
        """Take the address as SQLAlchemy has it: ``sqlite:///…`` or ``postgresql+psycopg://…``.

        Raises:
            SettingsError: it is of another kind of database, or its driver is not installed.
        """
        self._address = address
        self._engine = open_engine(address)
        self._lock = threading.Lock()
        self._prepared = False

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        self._engine.dispose()

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""
        made = event_of(None, run, run.created_at)
        kept = run if made is None else run.model_copy(update={"last_event": made.number})
        try:
            with self._writing() as database:
                database.execute(
                    insert(runs).values(idempotency_key=idempotency_key, **_columns(kept))
                )
                _add_event(database, kept.run_id, made)
                return kept
        except IntegrityError:
            found = self._one(select(runs).where(runs.c.idempotency_key == idempotency_key))
            if found is None:
                raise
            return found

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""
        return self._one(select(runs).where(runs.c.run_id == run_id))

    def newest(self, limit: int, state: RunState | None = None) -> list[Run]:
        """Return runs, newest first; only those of a state if one is given."""
        query = select(runs).order_by(runs.c.position.desc()).limit(limit)
        if state is not None:
            query = query.where(runs.c.state == state.value)
        with self._reading() as database:
            return [_run(row) for row in database.execute(query).mappings()]

    def oldest(
        self, states: Collection[RunState], limit: int, queues: Collection[str] | None = None
    ) -> list[Run]:
        """Return runs of some states, and of some queues or of all, oldest first."""
        named = [state.value for state in states]
        query = select(runs).where(runs.c.state.in_(named))
        if queues is not None:
            query = query.where(runs.c.queue.in_(list(queues)))
        query = query.order_by(runs.c.position).limit(limit)
        with self._reading() as database:
            return [_run(row) for row in database.execute(query).mappings()]

    def change(self, run_id: str, transition: Transition, now: datetime) -> Run | None:
        """Apply a transition while nobody else does, and keep the event that it makes."""
        with self._writing() as database:
            # SQLite leaves FOR UPDATE out; there the transaction itself keeps all others away.
            query = select(runs).where(runs.c.run_id == run_id).with_for_update()
            row = database.execute(query).mappings().one_or_none()
            before = None if row is None else _run(row)
            after = None if before is None else transition(before)
            if after is None:
                return None
            made = event_of(before, after, now)
            if made is not None:
                after = after.model_copy(update={"last_event": made.number})
                _add_event(database, run_id, made)
            database.execute(update(runs).where(runs.c.run_id == run_id).values(_columns(after)))
            return after

    def events(self, run_id: str, *, after: int, limit: int = 100) -> Sequence[RunEvent]:
        """Return events of a run with numbers above ``after``, in order."""
        query = (
            select(events.c.number, events.c.at, events.c.kind, events.c.data)
            .where(events.c.run_id == run_id, events.c.number > after)
            .order_by(events.c.number)
            .limit(limit)
        )
        with self._reading() as database:
            return [
                RunEvent.model_validate(dict(row)) for row in database.execute(query).mappings()
            ]

    def forget_events(self, before: datetime) -> int:
        """Drop the events of runs that ended before a moment; return how many."""
        old = select(runs.c.run_id).where(runs.c.finished_at < before)
        with self._writing() as database:
            return database.execute(delete(events).where(events.c.run_id.in_(old))).rowcount

    def sign(self, worker: WorkerSign) -> None:
        """Note that a worker lives."""
        values = {"queues": list(worker.queues), "heard_at": worker.heard_at}
        with self._writing() as database:
            known = database.execute(
                update(workers).where(workers.c.name == worker.name).values(values)
            ).rowcount
            if not known:  # a name has one worker, so nobody else adds it meanwhile
                database.execute(insert(workers).values(name=worker.name, **values))

    def sign_off(self, name: str) -> None:
        """Note that a worker has ended."""
        with self._writing() as database:
            database.execute(delete(workers).where(workers.c.name == name))

    def workers(self, since: datetime) -> list[WorkerSign]:
        """Return the workers that were heard of since a moment."""
        query = select(workers).where(workers.c.heard_at >= since).order_by(workers.c.name)
        with self._reading() as database:
            return [
                WorkerSign.model_validate(dict(row)) for row in database.execute(query).mappings()
            ]

    def figures(self) -> Figures:
        """Count runs."""
        queued = runs.c.state == RunState.QUEUED.value
        within = [func.sum(case((runs.c.seconds <= most, 1), else_=0)) for most in SECONDS]
        with self._reading() as database:
            states = database.execute(select(runs.c.state, func.count()).group_by(runs.c.state))
            waiting = database.execute(
                select(runs.c.queue, func.count()).where(queued).group_by(runs.c.queue)
            )
            durations = database.execute(
                select(runs.c.state, func.count(), func.sum(runs.c.seconds), *within)
                .where(runs.c.seconds.is_not(None))
                .group_by(runs.c.state)
            )
            return Figures(
                states={RunState(state): count for state, count in states},
                queued={str(queue): int(count) for queue, count in waiting},
                oldest_queued_at=database.scalar(select(func.min(runs.c.created_at)).where(queued)),
                durations={
                    RunState(state): Durations(count, seconds, tuple(counts))
                    for state, count, seconds, *counts in durations
                },
            )

    def check(self) -> None:
        """Raise StateError if nothing can be written."""
        with self._writing() as database:
            # Changes nothing, but wants the right, and on SQLite the disk, to write.
            database.execute(delete(workers).where(workers.c.name == ""))

    def _one(self, query: Select[Any]) -> Run | None:
        with self._reading() as database:
            row = database.execute(query).mappings().one_or_none()
            return None if row is None else _run(row)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._told():
            self._prepare()
            with self._engine.begin() as database:
                yield database

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._told():
            self._prepare()
            with self._engine.connect().execution_options(**{READING: True}) as database:
                yield database

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a database and its driver raise into an error that shows no address."""
        try:
            yield
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise self._failed(getattr(error, "orig", None) or error) from error

    def _failed(self, error: BaseException) -> StateError:
        if isinstance(error, sqlite3.Error):
            found, remedy = str(error), "If the file is damaged, put a backup in its place."
        else:  # whose words may hold the address
            found = type(error).__name__
            remedy = "See FTI_TRAINING_RUNS, and the log of the database."
        return StateError(
            f"run store ({shown_database(self._address)})",
            expected="a sound database that answers and can be written",
            found=found,
            remedy=remedy,
        )

    def _prepare(self) -> None:
        """Make what tables are missing; processes that start at once do it one after another."""
        with self._lock:
            if self._prepared:
                return
            make_folder_of(self._address)
            with self._engine.begin() as database:
                if database.dialect.name == "postgresql":
                    database.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
                make_tables(database)
            self._prepared = True


def _add_event(database: Connection, run_id: str, made: RunEvent | None) -> None:
    if made is not None:
        database.execute(insert(events).values(run_id=run_id, **made.model_dump()))


def _columns(run: Run) -> dict[str, Any]:
    documents = {
        name: None if (value := getattr(run, name)) is None else value.model_dump()
        for name in ("result", "error")
    }
    took = run.finished_at and run.started_at and run.finished_at - run.started_at
    return {
        **{name: getattr(run, name) for name in Run.model_fields},
        **documents,
        "state": run.state.value,
        "seconds": took.total_seconds() if took else None,
    }


def _run(row: RowMapping) -> Run:
    return Run.model_validate({name: row[name] for name in Run.model_fields})
