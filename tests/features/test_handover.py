"""What is handed over reaches each partition of the stream: its own keys, and all of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from feature_pipeline.definition.records import KnownMention
from feature_pipeline.definition.transform import EventTables, States, empty_states, transform
from feature_pipeline.eventlog.port import partition_of
from feature_pipeline.store.handover import Handover
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
