from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from training_pipeline.problem import Problem
from training_pipeline.result import GateResult, RowCounts, TrainResult
from training_pipeline.service.runs import INTERRUPTED, MemoryRunStore, RunState, RunStore, new_run
from training_pipeline.service.runs_sqlite import SqliteRunStore

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
RESULT = TrainResult(
    run_id="r",
    version="3",
    gate=GateResult(passed=True, reasons=[]),
    metrics={"accuracy": 0.8},
    rows=RowCounts(labelled=10, folded=1, train=7, holdout=2),
    dataset_sha256="0" * 64,
)
PROBLEM = Problem(place="here", expected="this", found="that")


def sqlite_store(folder: Path) -> RunStore:
    """Return a store in a file."""
    return SqliteRunStore(folder / "runs.db")


def memory_store(folder: Path) -> RunStore:  # noqa: ARG001 - the other one's argument
    """Return a store in memory."""
    return MemoryRunStore()


@pytest.fixture(params=[sqlite_store, memory_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """Each kind of store in turn."""
    make: Callable[[Path], RunStore] = request.param
    return make(tmp_path)


def test_a_run_is_found_as_it_was_added(store: RunStore) -> None:
    """What was added comes back whole, and an id that is unknown gives nothing."""
    run = store.add(new_run("drift", NOW))
    assert store.get(run.run_id) == run
    assert store.get("unknown") is None
    assert (run.state, run.created_at) == (RunState.QUEUED, NOW)


def test_a_key_makes_one_run(store: RunStore) -> None:
    """The same key gives the first run again, whatever came of it; no key gives a new one."""
    first = store.add(new_run("one", NOW), "key")
    store.start_next(NOW)
    again = store.add(new_run("two", NOW), "key")
    assert (again.run_id, again.reason, again.state) == (first.run_id, "one", RunState.RUNNING)
    assert store.add(new_run("three", NOW)).run_id != store.add(new_run("three", NOW)).run_id
    assert len(store.newest(10)) == 3


def test_runs_start_in_order(store: RunStore) -> None:
    """The oldest queued run starts first, each once; newest lists the other way round."""
    ids = [store.add(new_run(str(i), NOW)).run_id for i in range(3)]
    assert [run.run_id for run in store.newest(2)] == [ids[2], ids[1]]
    started = [store.start_next(LATER) for _ in range(4)]
    assert [run.run_id if run else None for run in started] == [*ids, None]
    assert all(run.started_at == LATER for run in started if run)


def test_progress_then_result(store: RunStore) -> None:
    """A running run tells its progress, a finished one its result and its end."""
    run_id = store.add(new_run("x", NOW)).run_id
    store.start_next(NOW)
    store.report(run_id, "fit", 0.4)
    running = store.get(run_id)
    assert running is not None
    assert (running.stage, running.progress) == ("fit", 0.4)
    store.finish(run_id, RunState.SUCCEEDED, LATER, result=RESULT)
    done = store.get(run_id)
    assert done is not None
    assert (done.state, done.finished_at, done.result) == (RunState.SUCCEEDED, LATER, RESULT)


def test_a_final_state_is_final(store: RunStore) -> None:
    """Neither late progress nor a second end changes a run that has ended."""
    run_id = store.add(new_run("x", NOW)).run_id
    store.start_next(NOW)
    store.finish(run_id, RunState.FAILED, NOW, error=PROBLEM)
    ended = store.get(run_id)
    store.report(run_id, "fit", 0.9)
    store.finish(run_id, RunState.SUCCEEDED, LATER, result=RESULT)
    assert store.get(run_id) == ended
    assert ended is not None
    assert ended.error == PROBLEM


def test_only_running_runs_are_interrupted(store: RunStore) -> None:
    """What runs is interrupted, with the remedy; what waits goes on waiting."""
    running = store.add(new_run("one", NOW)).run_id
    waiting = store.add(new_run("two", NOW)).run_id
    store.start_next(NOW)
    assert store.interrupt_running(LATER) == [running]
    assert store.interrupt_running(LATER) == []
    run = store.get(running)
    assert run is not None
    assert (run.state, run.error, run.finished_at) == (RunState.INTERRUPTED, INTERRUPTED, LATER)
    assert store.counts() == {RunState.INTERRUPTED: 1, RunState.QUEUED: 1}
    next_run = store.start_next(LATER)
    assert next_run is not None
    assert next_run.run_id == waiting


def test_threads_share_a_key(store: RunStore) -> None:
    """Many threads that post one key at once get one run."""
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: store.add(new_run("x", NOW), "k").run_id, range(32)))
    assert len(ids) == 1
    assert store.counts() == {RunState.QUEUED: 1}


def test_runs_outlive_the_process(tmp_path: Path) -> None:
    """A store that opens the same file sees the runs of the one before."""
    run = sqlite_store(tmp_path).add(new_run("x", NOW), "key")
    assert sqlite_store(tmp_path).get(run.run_id) == run
    assert sqlite_store(tmp_path).add(new_run("y", NOW), "key") == run


def test_an_unwritable_store_says_so(tmp_path: Path) -> None:
    """The check fails when the file is no longer a database."""
    store = sqlite_store(tmp_path)
    store.check_writable()
    (tmp_path / "runs.db").write_bytes(b"no database, but bytes of some length" * 40)
    with pytest.raises(OSError, match="cannot be written"):
        store.check_writable()
