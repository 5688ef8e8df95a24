"""What is handed over reaches each partition of the stream: its own keys, and all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from feature_pipeline.definition.records import KnownMention
from feature_pipeline.definition.transform import EventTables, States, empty_states, transform
from feature_pipeline.eventlog.port import partition_of
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.handover import Handover
from shared.errors import StateError
from shared.events import Mention
from shared.features import ROLES, Role
from shared.task import Task
from tests.features.conftest import START

PARTITIONS = 3


def states(task: Task, count: int) -> States:
    """Return the states after mentions of as many subjects and sources."""
    known = [KnownMention(_mention(number), _at(number)) for number in range(count)]
    events = dict.fromkeys(ROLES, EventTables.of(known, []))
    return transform(task, empty_states(task), events, _at(count))[0]


def loaded(handover: Handover, task: Task, role: Role, partition: int) -> list[str]:
    state = handover.load(task, partition, PARTITIONS)[role]
    return sorted(state.totals["key"])


def test_each_partition_gets_its_own_keys(task: Task, tmp_path: Path) -> None:
    """In any order, asked twice, and after a later handover: never those of an earlier one."""
    handover = Handover(tmp_path)
    for count in (20, 30):
        handover.save(states(task, count))
        for role in ROLES:
            keys = sorted(f"{role} {number}" for number in range(count))
            for partition in (2, 0, 0, 1):
                assert loaded(handover, task, role, partition) == [
                    key for key in keys if partition_of(f"{role}:{key}", PARTITIONS) == partition
                ]


def _at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def _mention(number: int) -> Mention:
    return Mention(
        mention_id=f"m{number}",
        subject_id=f"subject {number}",
        source_id=f"source {number}",
        text="text",
        published_at=START,
    )


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"{}", b'{"0": null}', b"\xff\xfe"])
def test_damaged_file_is_named_with_the_remedy(task: Task, tmp_path: Path, content: bytes) -> None:
    """States and positions that cannot be read are told of, by whoever reads them."""
    Handover(tmp_path).save(states(task, 3), {0: 1})
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, before in whole.items():
        if path.suffix == ".json" and content == b"{}":
            continue
        path.write_bytes(content)
        handover = Handover(tmp_path)
        with pytest.raises(StateError, match=f"{path.name}: expected .* rebuild --accept-loss"):
            handover.last(task)
        if path.suffix == ".json":
            with pytest.raises(StateError, match="a position for each partition"):
                handover.position(0)
        else:
            with pytest.raises(StateError, match="states in Arrow's format"):
                handover.load(task, 0, PARTITIONS)
        path.write_bytes(before)


def test_lost_file_does_not_pass_for_no_history(task: Task, tmp_path: Path) -> None:
    """A fresh home has no file at all; where some are there, each of the others is missed."""
    assert loaded(Handover(tmp_path), task, "subject", 0) == []
    assert Handover(tmp_path).position(0) == 0
    Handover(tmp_path).save(states(task, 3), {0: 1})
    for path in list(tmp_path.iterdir()):
        content = path.read_bytes()
        path.unlink()
        reads: tuple[Callable[[Handover], object], ...] = (
            lambda handover: handover.load(task, 0, PARTITIONS),
            lambda handover: handover.position(0),
            lambda handover: handover.last(task),
        )
        for read in reads:
            with pytest.raises(StateError, match=f"{path.name}: .* rebuild --accept-loss"):
                read(Handover(tmp_path))
        path.write_bytes(content)


def test_state_that_was_cut_is_told(task: Task, tmp_path: Path) -> None:
    """A file that lost its end is damaged, however much is left of it."""
    handover = Handover(tmp_path)
    handover.save(states(task, 3))
    path = tmp_path / "subject_state.arrow"
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(StateError, match="states in Arrow's format"):
            handover.last(task)


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"name": "films"}'])
def test_damaged_claim_is_named_with_the_remedy(task: Task, tmp_path: Path, content: str) -> None:
    """A file that does not tell whose home it is stops everything, and says so."""
    claim_home(tmp_path, task, anew=False)
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(StateError, match=r"task.json: expected a task's name.* delete it"):
        claim_home(tmp_path, task, anew=False)
