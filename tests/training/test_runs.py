"""One suite for every store of runs, and what may become of a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.training.run_samples import LATER, LEASE, NOW, PROBLEM, RESULT, begun, change, queued
from training_pipeline.service.runs.memory import MemoryRunStore
from training_pipeline.service.runs.run import RunState, WorkerSign, new_run
from training_pipeline.service.runs.sql import SqlRunStore
from training_pipeline.service.runs.store import SECONDS, RunStore
from training_pipeline.service.runs.transitions import (
    begin_registration,
    cancel,
    claim,
    claim_kept,
    finish,
    hand_back,
    keep,
    leave_kept,
    lose,
    put_off,
    renew,
    report,
    sent,
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    """Each kind of store in turn, empty."""
    if request.param == "memory":
        yield MemoryRunStore()
        return
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'new' / 'runs.db'}"
    else:
        address = request.getfixturevalue("postgres_server").database()
    with closing(SqlRunStore(address)) as made:
        yield made


def test_a_run_is_found_as_it_was_added(store: RunStore) -> None:
    """What was added comes back whole, and an id that is unknown gives nothing."""
    run = store.add(new_run("drift", NOW, queue="gpu", overrides={"epochs": 2, "gate": {}}))
    assert store.get(run.run_id) == run
    assert store.get("unknown") is None
    assert (run.state, run.created_at, run.queue) == (RunState.QUEUED, NOW, "gpu")


def test_a_key_makes_one_run(store: RunStore) -> None:
    """The same key gives the first run again, whatever came of it; no key gives a new one."""
    first = store.add(new_run("one", NOW), "key")
    change(store, first, claim("w", NOW, LEASE))
    again = store.add(new_run("two", NOW), "key")
    assert (again.run_id, again.reason, again.state) == (first.run_id, "one", RunState.RUNNING)
    assert queued(store).run_id != queued(store).run_id
    assert len(store.newest(10)) == 3


def test_threads_share_a_key(store: RunStore) -> None:
    """Many threads that post one key at once get one run."""
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: store.add(new_run("x", NOW), "k").run_id, range(32)))
    assert len(ids) == 1
    assert store.figures().states == {RunState.QUEUED: 1}


def test_one_of_many_gets_a_run(store: RunStore) -> None:
    """Of many workers that claim a run at once, one has it."""
    run = queued(store)
    with ThreadPoolExecutor(8) as threads:
        claims = list(
            threads.map(lambda i: change(store, run, claim(f"w{i}", NOW, LEASE)), range(16))
        )
    (got,) = [found for found in claims if found is not None]
    assert store.get(run.run_id) == got
    assert (got.attempts, got.started_at, got.lease_until) == (1, NOW, NOW + LEASE)


def test_lists_go_by_age_and_state(store: RunStore) -> None:
    """The newest come first for people, the oldest for workers; of a state, of queues if named."""
    first, second, third = (queued(store) for _ in range(3))
    change(store, second, claim("w", NOW, LEASE))
    assert [run.run_id for run in store.newest(2)] == [third.run_id, second.run_id]
    assert [run.run_id for run in store.newest(9, RunState.RUNNING)] == [second.run_id]
    waiting = store.oldest({RunState.QUEUED}, 9)
    assert [run.run_id for run in waiting] == [first.run_id, third.run_id]
    other = queued(store, queue="gpu")
    assert store.oldest({RunState.QUEUED}, 1, ["gpu"]) == [other]
    assert store.oldest({RunState.QUEUED}, 9, ["cpu"]) == []


def test_progress_then_result(store: RunStore) -> None:
    """A running run tells its progress, a finished one its result and its end."""
    run = begun(store)
    running = change(store, run, report("w", "fit", 0.4, {"loss": 0.7, "step": 3}))
    assert running is not None
    assert (running.stage, running.progress, running.metrics["loss"]) == ("fit", 0.4, 0.7)
    change(store, run, finish("w", RunState.SUCCEEDED, LATER, result=RESULT), LATER)
    done = store.get(run.run_id)
    assert done is not None
    assert (done.state, done.finished_at, done.result) == (RunState.SUCCEEDED, LATER, RESULT)


def test_a_final_state_is_final(store: RunStore) -> None:
    """Nothing changes a run that has ended."""
    run = begun(store)
    ended = change(store, run, finish("w", RunState.FAILED, NOW, error=PROBLEM))
    assert ended is not None
    assert ended.error == PROBLEM
    late = [
        claim("v", LATER, LEASE),
        renew("w", LATER, LEASE),
        report("w", "fit", 0.9, {}),
        finish("w", RunState.SUCCEEDED, LATER, result=RESULT),
        hand_back("w", LATER),
        keep("w", LATER),
        lose(LATER, most=5),
        cancel(LATER),
        sent(LATER),
    ]
    assert [change(store, run, transition, LATER) for transition in late] == [None] * len(late)
    assert store.get(run.run_id) == ended


def test_a_lease_that_is_renewed_holds(store: RunStore) -> None:
    """As long as it is renewed nobody else gets the run, and nobody else renews it."""
    run = begun(store)
    change(store, run, renew("w", LATER, LEASE))
    assert change(store, run, lose(LATER, most=5)) is None
    assert change(store, run, renew("v", LATER, LEASE)) is None
    assert change(store, run, claim("v", LATER, LEASE)) is None


def test_a_lease_that_runs_out_gives_the_run_to_the_next(store: RunStore) -> None:
    """The run waits again, the next worker has it, and the first has no say any more."""
    run = begun(store)
    change(store, run, sent(NOW))
    lost = change(store, run, lose(LATER, most=5), LATER)
    assert lost is not None
    assert (lost.state, lost.lost_workers, lost.sent_at) == (RunState.QUEUED, 1, None)
    again = change(store, run, claim("v", LATER, LEASE), LATER)
    assert again is not None
    assert (again.attempts, again.started_at, again.worker) == (2, NOW, "v")
    assert change(store, run, report("w", "fit", 0.9, {})) is None
    assert change(store, run, finish("w", RunState.SUCCEEDED, LATER, result=RESULT)) is None


def test_a_run_that_loses_all_its_workers_fails(store: RunStore) -> None:
    """It may be what ends them: after the fifth it is failed, and says so."""
    run = queued(store)
    for attempt in range(5):
        at = NOW + attempt * timedelta(hours=1)
        assert change(store, run, claim(f"w{attempt}", at, LEASE), at) is not None
        lost = change(store, run, lose(at + timedelta(minutes=1), most=5), at)
    assert lost is not None
    assert (lost.state, lost.attempts) == (RunState.FAILED, 5)
    assert lost.error is not None
    assert lost.error.found == "5 workers, or their processes, gone in the middle of it"


def test_a_dead_process_counts_though_its_worker_lives(store: RunStore) -> None:
    """A worker gives up the run of a process that died, before the lease is over."""
    run = begun(store)
    assert change(store, run, lose(NOW, most=5, worker="v")) is None
    lost = change(store, run, lose(NOW, most=5, worker="w"))
    assert lost is not None
    assert (lost.state, lost.lost_workers) == (RunState.QUEUED, 1)


def test_handing_back_is_no_loss(store: RunStore) -> None:
    """A worker that ends in order leaves the run to the next, and nothing is counted."""
    run = change(store, begun(store), hand_back("w", NOW))
    assert run is not None
    assert (run.state, run.lost_workers, run.attempts) == (RunState.QUEUED, 0, 1)


def test_a_run_is_put_off_while_something_is_away(store: RunStore) -> None:
    """It waits, and says why; longer the next time; begun again it is as any; but not for ever."""
    run, now = queued(store), NOW
    for seconds in (5, 10):
        assert change(store, run, claim("w", now, LEASE), now) is not None
        late = change(store, run, put_off("w", now, PROBLEM, most=3), now)
        assert late is not None
        assert (late.state, late.error) == (RunState.QUEUED, PROBLEM)
        assert store.get(run.run_id) == late
        early = now + timedelta(seconds=seconds - 1)
        assert not late.due(early)
        assert change(store, run, claim("w", early, LEASE), early) is None
        now += timedelta(seconds=seconds)
        assert late.due(now)
    again = change(store, run, claim("w", now, LEASE), now)
    assert again is not None
    assert (again.error, again.delays, again.lost_workers) == (None, 2, 0)
    assert change(store, run, put_off("v", now, PROBLEM, most=3), now) is None
    ended = change(store, run, put_off("w", now, PROBLEM, most=3), now)
    assert ended is not None
    assert (ended.state, ended.error) == (RunState.FAILED, PROBLEM)


def test_cancelling(store: RunStore) -> None:
    """A run that waits ends at once; one that runs when its worker has ended it, or is gone."""
    waiting = change(store, queued(store), cancel(NOW))
    assert waiting is not None
    assert (waiting.state, waiting.finished_at) == (RunState.CANCELLED, NOW)
    for end in (hand_back("w", NOW), lose(LATER, most=5), put_off("w", NOW, PROBLEM, most=1)):
        run = begun(store)
        asked = change(store, run, cancel(NOW))
        assert asked is not None
        assert asked.state is RunState.CANCELLING
        assert change(store, run, cancel(NOW)) is None
        ended = change(store, run, end)
        assert ended is not None
        assert ended.state is RunState.CANCELLED


def test_a_wish_to_cancel_outlives_an_outage(store: RunStore) -> None:
    """A run that is to be cancelled is so, though its result would have been kept."""
    run = begun(store)
    change(store, run, cancel(NOW))
    ended = change(store, run, keep("w", NOW))
    assert ended is not None
    assert (ended.state, ended.finished_at) == (RunState.CANCELLED, NOW)


def test_what_is_registered_was_not_cancelled(store: RunStore) -> None:
    """A wish to cancel that comes too late changes nothing: there is a version."""
    run = begun(store)
    change(store, run, cancel(NOW))
    ended = change(store, run, finish("w", RunState.GATE_FAILED, NOW, result=RESULT))
    assert ended is not None
    assert ended.state is RunState.GATE_FAILED


def test_a_registration_begins_or_a_run_is_cancelled(store: RunStore) -> None:
    """Whichever comes first; a run that may have a version stays so though its worker is lost."""
    run = begun(store)
    change(store, run, cancel(NOW))
    late = change(store, run, begin_registration("w", NOW, LEASE))
    assert late is not None
    assert (late.state, late.registration_begun) == (RunState.CANCELLING, False)

    run = begun(store)
    assert change(store, run, begin_registration("v", NOW, LEASE)) is None
    registering = change(store, run, begin_registration("w", LATER, LEASE))
    assert registering is not None
    assert (registering.registration_begun, registering.lease_until) == (True, LATER + LEASE)
    assert change(store, run, cancel(LATER)) is None
    change(store, run, lose(LATER, most=5, worker="w"))
    assert change(store, run, cancel(LATER)) is None
    change(store, run, claim("v", LATER, LEASE))
    assert change(store, run, cancel(LATER)) is None
    change(store, run, keep("v", LATER))
    ended = change(store, run, cancel(LATER))
    assert ended is not None
    assert ended.state is RunState.CANCELLED


def test_another_attempt_tells_anew_how_far_it_is(store: RunStore) -> None:
    """While a run waits it shows what was reached; who goes on with it has not come so far."""
    run = begun(store)
    change(store, run, report("w", "export", 0.8, {"loss": 0.7}))
    waiting = change(store, run, hand_back("w", NOW))
    assert waiting is not None
    assert (waiting.stage, waiting.progress) == ("export", 0.8)
    again = change(store, run, claim("v", NOW, LEASE))
    assert again is not None
    assert (again.stage, again.progress, again.metrics) == (None, 0.0, {})


def test_a_kept_result_is_registered_by_one(store: RunStore) -> None:
    """It waits without a lease; who registers it has one, and lets go or ends the run."""
    run = begun(store)
    kept = change(store, run, keep("w", NOW))
    assert kept is not None
    assert (kept.state, kept.lease_until) == (RunState.UNREGISTERED, None)
    assert change(store, run, claim_kept("v", NOW, LEASE)) is not None
    assert change(store, run, claim_kept("u", NOW, LEASE)) is None
    assert change(store, run, cancel(NOW)) is None
    assert change(store, run, leave_kept("v")) is not None
    assert change(store, run, claim_kept("u", NOW, LEASE)) is not None
    ended = change(store, run, finish("u", RunState.SUCCEEDED, LATER, result=RESULT))
    assert ended is not None
    assert ended.state is RunState.SUCCEEDED


def test_events_tell_every_change_in_order(store: RunStore) -> None:
    """A reader that comes back with a number gets what came after it, each event once."""
    run = begun(store)
    change(store, run, renew("w", NOW, LEASE))
    change(store, run, report("w", "fit", 0.4, {"loss": 0.7}), LATER)
    change(store, run, finish("w", RunState.SUCCEEDED, LATER, result=RESULT), LATER)
    events = store.events(run.run_id, after=0)
    assert [(event.number, event.kind) for event in events] == [
        (1, "state"),
        (2, "state"),
        (3, "progress"),
        (4, "state"),
    ]
    assert events[2].data == {"stage": "fit", "progress": 0.4, "metrics": {"loss": 0.7}}
    assert (events[2].at, events[3].data["version"]) == (LATER, "3")
    assert store.events(run.run_id, after=2) == events[2:]
    assert store.events(run.run_id, after=4) == []
    assert store.events(run.run_id, after=0, limit=1) == events[:1]


def test_old_events_go(store: RunStore) -> None:
    """Events of runs that ended long ago are dropped, all others stay."""
    old, new = begun(store), begun(store)
    change(store, old, finish("w", RunState.FAILED, NOW, error=PROBLEM))
    assert store.forget_events(NOW) == 0
    assert store.forget_events(LATER) == 3
    assert store.events(old.run_id, after=0) == []
    assert len(store.events(new.run_id, after=0)) == 2


def test_workers_are_known_by_their_last_sign(store: RunStore) -> None:
    """A worker counts from its last sign on; one that signed off is gone."""
    for name, at in (("a", NOW), ("b", NOW), ("a", LATER), ("c", LATER)):
        store.sign(WorkerSign(name=name, queues=("default", "gpu"), heard_at=at))
    store.sign_off("c")
    assert [worker.name for worker in store.workers(NOW)] == ["a", "b"]
    assert store.workers(LATER) == [WorkerSign(name="a", queues=("default", "gpu"), heard_at=LATER)]


def test_figures(store: RunStore) -> None:
    """Runs are counted by state and queue, and by how long they took."""
    assert store.figures().oldest_queued_at is None
    queued(store, queue="gpu")
    run = begun(store)
    change(store, run, finish("w", RunState.FAILED, LATER, error=PROBLEM), LATER)
    figures = store.figures()
    assert figures.states == {RunState.QUEUED: 1, RunState.FAILED: 1}
    assert (figures.queued, figures.oldest_queued_at) == ({"gpu": 1}, NOW)
    took = figures.durations[RunState.FAILED]
    assert (took.runs, took.seconds) == (1, 180.0)
    assert took.within == tuple(int(most >= 180) for most in SECONDS)
