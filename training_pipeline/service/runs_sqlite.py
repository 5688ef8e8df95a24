"""Requested training runs, kept in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from shared.sqlite_file import open_sqlite
from training_pipeline.problem import Problem
from training_pipeline.result import TrainResult
from training_pipeline.service.runs import INTERRUPTED, Run, RunState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    stage TEXT,
    progress REAL NOT NULL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    result TEXT,
    error TEXT
);
"""
_COLUMNS = (
    "run_id, reason, state, stage, progress, created_at, started_at, finished_at, result, error"
)
_BUSY_SECONDS = 10.0


class SqliteRunStore:
    """Keeps runs in a file, so that they outlive the process.

    Each call has its own connection and transaction, which makes it safe from several threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        open_sqlite(path, _SCHEMA).close()

    def add(self, run: Run, idempotency_key: str | None = None) -> Run:
        """Keep a new run, or return the run that was added with the same key before."""
        with self._transaction() as database:
            if idempotency_key is not None:
                row = database.execute(
                    f"SELECT {_COLUMNS} FROM runs WHERE idempotency_key = ?",  # noqa: S608 - constant
                    (idempotency_key,),
                ).fetchone()
                if row is not None:
                    return _run(row)
            database.execute(
                "INSERT INTO runs (run_id, idempotency_key, reason, state, progress, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    run.run_id,
                    idempotency_key,
                    run.reason,
                    run.state,
                    run.progress,
                    run.created_at.isoformat(),
                ),
            )
            return run

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None if there is none of that id."""
        with self._transaction() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM runs WHERE run_id = ?",  # noqa: S608 - constant
                (run_id,),
            ).fetchone()
            return None if row is None else _run(row)

    def newest(self, limit: int) -> list[Run]:
        """Return runs, newest first."""
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM runs ORDER BY position DESC LIMIT ?",  # noqa: S608 - constant
                (limit,),
            )
            return [_run(row) for row in rows]

    def start_next(self, now: datetime) -> Run | None:
        """Turn the oldest queued run into a running one and return it; None if none waits."""
        with self._transaction() as database:
            row = database.execute(
                f"UPDATE runs SET state = ?, started_at = ? WHERE position ="  # noqa: S608 - constant
                " (SELECT min(position) FROM runs WHERE state = ?)"
                f" RETURNING {_COLUMNS}",
                (RunState.RUNNING, now.isoformat(), RunState.QUEUED),
            ).fetchone()
            return None if row is None else _run(row)

    def report(self, run_id: str, stage: str, progress: float) -> None:
        """Note how far a running run is."""
        with self._transaction() as database:
            database.execute(
                "UPDATE runs SET stage = ?, progress = ? WHERE run_id = ? AND state = ?",
                (stage, progress, run_id, RunState.RUNNING),
            )

    def finish(
        self,
        run_id: str,
        state: RunState,
        now: datetime,
        *,
        result: TrainResult | None = None,
        error: Problem | None = None,
    ) -> None:
        """Give a running run its final state."""
        with self._transaction() as database:
            database.execute(
                "UPDATE runs SET state = ?, finished_at = ?, result = ?, error = ?"
                " WHERE run_id = ? AND state = ?",
                (
                    state,
                    now.isoformat(),
                    None if result is None else result.model_dump_json(),
                    None if error is None else error.model_dump_json(),
                    run_id,
                    RunState.RUNNING,
                ),
            )

    def interrupt_running(self, now: datetime) -> list[str]:
        """Give every running run the state interrupted; return their ids."""
        with self._transaction() as database:
            rows = database.execute(
                "UPDATE runs SET state = ?, finished_at = ?, error = ? WHERE state = ?"
                " RETURNING run_id",
                (
                    RunState.INTERRUPTED,
                    now.isoformat(),
                    INTERRUPTED.model_dump_json(),
                    RunState.RUNNING,
                ),
            )
            return [row["run_id"] for row in rows]

    def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""
        with self._transaction() as database:
            rows = database.execute("SELECT state, count(*) AS runs FROM runs GROUP BY state")
            return {RunState(row["state"]): row["runs"] for row in rows}

    def check_writable(self) -> None:
        """Raise OSError if nothing can be written."""
        try:
            with self._transaction() as database:
                # Writes a page without changing anything that a reader sees.
                database.execute("PRAGMA user_version = 1")
        except sqlite3.Error as error:
            raise OSError(f"{self._path} cannot be written") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as database:
            database.row_factory = sqlite3.Row
            # At once for writing: a transaction that begins by reading may be refused later.
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _run(row: sqlite3.Row) -> Run:
    values = dict(row)
    if values["result"] is not None:
        values["result"] = TrainResult.model_validate_json(values["result"])
    if values["error"] is not None:
        values["error"] = Problem.model_validate_json(values["error"])
    return Run.model_validate(values)
