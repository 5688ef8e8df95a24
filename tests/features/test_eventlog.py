"""What every event log promises, whatever it is made of."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from feature_pipeline.definition.records import KnownLabel, KnownMention
from feature_pipeline.eventlog.port import Entry, EventLog, partition_of
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.errors import StateError
from shared.events import Label, Mention
from tests.features.conftest import START, TurnableClock


def mention(number: int, subject: str = "heat", source: str = "ann") -> Mention:
    return Mention(
        mention_id=f"m{number}",
        subject_id=subject,
        source_id=source,
        text="fine",
        published_at=START,
    )


def label(number: int, value: str) -> Label:
    return Label(mention_id=f"m{number}", label=value, labelled_at=START)


def entries(log: EventLog) -> list[Entry]:
    return [e for part in range(log.partitions) for e in log.read(part, 0, 1_000).entries]


def test_mention_reaches_its_subject_and_its_source(log: EventLog) -> None:
    """Both partitions get the mention, with one known_at and the roles that it has there."""
    log.append([mention(n, subject=f"s{n}", source=f"a{n}") for n in range(20)])
    for number in range(20):
        mine = [e for e in entries(log) if _id(e) == f"m{number}"]
        assert len({e.event.known_at for e in mine}) == 1
        places = {role: e.partition for e in mine for role in e.roles}
        assert places == {
            "subject": partition_of(f"subject:s{number}", 2),
            "source": partition_of(f"source:a{number}", 2),
        }


def test_known_at_rises_strictly_though_the_clock_stands(log: EventLog) -> None:
    """Within a partition each entry is known after the one before, even if the clock goes back."""
    log.append([mention(n) for n in range(5)])
    log.append([mention(n) for n in range(5, 9)])
    for part in range(log.partitions):
        batch = log.read(part, 0, 100)
        times = [e.event.known_at for e in batch.entries]
        assert times == sorted(set(times))
        assert [e.position for e in batch.entries] == list(range(1, len(times) + 1))


def test_second_posting_is_a_duplicate(log: EventLog) -> None:
    """A mention counts once, within a batch and across batches."""
    first = log.append([mention(1), mention(1)])
    second = log.append([mention(1)])
    assert [r.status for r in first + second] == ["accepted", "duplicate", "duplicate"]
    assert len({_id(e) for e in entries(log)}) == 1


def test_label_tells_what_it_corrects(log: EventLog, clock: TurnableClock) -> None:
    """A new label carries the one before it and when that was known; a repeated one is nothing."""
    log.append([mention(1), label(1, "bad")])
    clock.turn(minutes=1)
    receipts = log.append([label(1, "bad"), label(1, "good")])
    assert [r.status for r in receipts] == ["duplicate", "accepted"]
    labels = {e.event.known_at: e.event for e in entries(log) if isinstance(e.event, KnownLabel)}
    bad, good = (labels[moment] for moment in sorted(labels))
    assert (bad.previous_label, good.previous_label) == (None, "bad")
    assert good.previous_known_at == bad.known_at
    assert (good.subject_id, good.source_id) == ("heat", "ann")


def test_label_without_mention_is_rejected_alone(log: EventLog) -> None:
    """A label for an unknown mention is rejected with a reason; its neighbours are taken."""
    receipts = log.append([mention(1), label(2, "bad"), label(1, "bad")])
    assert [r.status for r in receipts] == ["accepted", "rejected", "accepted"]
    assert receipts[1].error is not None
    assert "'m2'" in str(receipts[1].error)


def test_reading_goes_on_where_it_stopped(log: EventLog) -> None:
    """Reads of any size give each entry once, in order, with a watermark that holds."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    seen, position = list[Entry](), 0
    while (batch := log.read(part, position, 3)).entries:
        assert batch.watermark >= batch.entries[-1].event.known_at
        seen += batch.entries
        position = batch.position
        rest = log.read(part, position, 100).entries
        assert all(e.event.known_at > batch.watermark for e in rest)
    assert [_id(e) for e in seen] == [f"m{n}" for n in range(10)]


def test_heartbeat_lets_time_pass(log: EventLog, clock: TurnableClock) -> None:
    """On an idle log the watermark follows the clock, and later entries are known after it."""
    clock.turn(hours=1)
    log.heartbeat()
    marks = [log.read(part, 0, 10).watermark for part in range(2)]
    assert marks == [clock.now, clock.now]
    log.append([mention(1)])
    assert all(e.event.known_at > clock.now for e in entries(log))


def test_history_is_known_to_the_log(log: EventLog, clock: TurnableClock) -> None:
    """What history held is a duplicate, can be labelled, and lies before everything appended."""
    watermark = clock.now + timedelta(days=1)
    old = KnownMention(mention(1), START)
    log.begin_after(watermark, [old], [KnownLabel(label(1, "bad"), START, "heat", "ann")])
    receipts = log.append([mention(1), label(1, "bad"), label(1, "good")])
    assert [r.status for r in receipts] == ["duplicate", "duplicate", "accepted"]
    assert all(e.event.known_at > watermark for e in entries(log))


def test_history_comes_before_events(log: EventLog, clock: TurnableClock) -> None:
    """A log that holds events refuses history, and is not changed."""
    log.begin_after(clock.now, [KnownMention(mention(1), START)], [])
    log.begin_after(clock.now, [KnownMention(mention(1), START)], [])
    log.append([mention(2)])
    with pytest.raises(StateError, match="history is loaded before"):
        log.begin_after(clock.now, [], [])
    assert [r.status for r in log.append([mention(1)])] == ["duplicate"]


def test_trimmed_position_is_refused(log: EventLog) -> None:
    """A reader whose place was trimmed away is told, not moved."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    log.trim(part, before=6)
    assert [e.position for e in log.read(part, 5, 100).entries] == [6, 7, 8, 9, 10]
    with pytest.raises(StateError, match="begins at position 6"):
        log.read(part, 4, 100)


def test_sqlite_log_survives_and_keeps_its_partitions(tmp_path: Path) -> None:
    """A reopened log holds what was appended; another number of partitions is refused."""
    path = tmp_path / "log.db"
    log = SqliteEventLog(path, partitions=2)
    log.append([mention(1), label(1, "bad")])
    before = entries(log)
    log.close()
    reopened = SqliteEventLog(path, partitions=2)
    assert entries(reopened) == before
    reopened.close()
    with pytest.raises(StateError, match="3 partitions"):
        SqliteEventLog(path, partitions=3)


def _id(entry: Entry) -> str:
    event = entry.event
    return (event.mention if isinstance(event, KnownMention) else event.label).mention_id
