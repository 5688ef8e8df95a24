"""What a worker does between runs: it sends again what was lost, and removes what nobody needs."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.training.run_samples import PROBLEM
from tests.training.worker_rig import (
    WAIT_SECONDS,
    Rig,
    ToldChild,
    now,
)
from training_pipeline.service.run_folder import RunFolder
from training_pipeline.service.runs.run import new_run
from training_pipeline.service.runs.transitions import claim, keep
from training_pipeline.service.work.child import Ended
from training_pipeline.service.work.leftovers import Leftovers


def test_a_sweep_finds_what_was_lost(tmp_path: Path) -> None:
    """Runs of lost workers, and runs whose message was lost or never sent, are sent again."""
    rig = Rig(tmp_path, ToldChild())
    unsent, lost, other = rig.queued(), rig.queued(), rig.queued()
    elsewhere = rig.store.add(new_run("x", now(), queue="gpu")).run_id
    rig.store.change(lost, claim("v", now(), timedelta(seconds=30)), now())
    rig.store.change(other, claim("u", now(), timedelta(hours=1)), now())
    upkeep = rig.upkeep()
    upkeep.sweep(now())
    assert rig.outbox.sent == [unsent]
    assert [worker.name for worker in rig.store.workers(now() - timedelta(minutes=1))] == ["w"]
    upkeep.sweep(now() + timedelta(seconds=5))
    assert rig.outbox.sent == [unsent]
    later = now() + timedelta(seconds=45)
    upkeep.sweep(later)
    assert rig.outbox.sent == [unsent, lost, unsent]
    assert rig.run(lost).lost_workers == 1
    assert rig.run(other).worker == "u"
    assert elsewhere not in rig.outbox.sent


def test_a_broker_that_is_back_gets_what_waits(tmp_path: Path) -> None:
    """While it is away nothing counts as sent."""
    rig = Rig(tmp_path, ToldChild())
    run_id = rig.queued()
    rig.outbox.away = True
    rig.upkeep().sweep(now())
    rig.outbox.away = False
    rig.upkeep().sweep(now())
    assert rig.outbox.sent == [run_id]


def test_a_busy_worker_sends_nothing_again(tmp_path: Path) -> None:
    """Its own message waits behind its run: more of them would only pile up."""
    rig = Rig(tmp_path, ToldChild(until_stopped=True))
    running, waiting = rig.queued(), rig.queued()
    thread = rig.begin(running)
    rig.upkeep().sweep(now())
    assert waiting not in rig.outbox.sent
    rig.execution.stop()
    thread.join(WAIT_SECONDS)


def test_leftovers_go_when_nobody_needs_them(tmp_path: Path) -> None:
    """Folders of final runs at once, their logs after a while; what is not final stays."""
    rig = Rig(tmp_path, ToldChild(lambda _: Ended(1, PROBLEM)))
    ended, waiting, kept = rig.executed().run_id, rig.queued(), rig.queued()
    rig.store.change(kept, claim("w", now(), timedelta(hours=1)), now())
    rig.store.change(kept, keep("w", now()), now())
    for run_id in (ended, waiting, kept, "unknown"):
        rig.folder(run_id).make()
        rig.folder(run_id).kept.mkdir(parents=True)
        rig.folder(run_id).log.touch()
    Leftovers(rig.store, tmp_path, timedelta(days=1)).remove()
    assert not rig.folder(ended).path.exists()
    assert not rig.folder(ended).kept.exists()
    assert rig.folder(waiting).path.exists()
    assert rig.folder(kept).kept.exists()
    assert rig.folder(ended).log.exists()
    old = time.time() - 2 * 86_400
    for run_id in (ended, waiting, "unknown"):
        os.utime(rig.folder(run_id).log, (old, old))
    Leftovers(rig.store, tmp_path, timedelta(days=1)).remove()
    logs = {path.stem for path in (tmp_path / "logs").iterdir()}
    assert logs == {waiting, kept}


def test_two_may_remove_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run and the sweep of leftovers meet: what is gone already is no fault."""
    folder = RunFolder(tmp_path, "one")
    folder.make()
    (folder.path / "checkpoints").mkdir()
    (folder.path / "result.json").touch()
    unlink = os.unlink

    def removed_by_another(path: str, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", removed_by_another)
    folder.remove()
    folder.remove()
    assert not folder.path.exists()
