"""What every event log promises, whatever it is made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from feature_pipeline.definition.records import (
    KnownLabel,
    KnownMention,
    label_table,
    mention_table,
)
from feature_pipeline.eventlog.port import Entry, EventLog, LogUnavailableError, partition_of
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.errors import StateError
from shared.events import EARLIEST, Label, Mention
from tests.features.conftest import START, OpenLog, TurnableClock

NO_LABELS = label_table([])


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
    labelled = KnownLabel(label(1, "bad"), START, "heat", "ann")
    log.begin_after(watermark, mention_table([old]), label_table([labelled]))
    receipts = log.append([mention(1), label(1, "bad"), label(1, "good")])
    assert [r.status for r in receipts] == ["duplicate", "duplicate", "accepted"]
    assert all(e.event.known_at > watermark for e in entries(log))


def test_history_comes_before_events(log: EventLog, clock: TurnableClock) -> None:
    """A log that holds events refuses history, and is not changed."""
    log.begin_after(clock.now, mention_table([KnownMention(mention(1), START)]), NO_LABELS)
    log.begin_after(clock.now, mention_table([KnownMention(mention(1), START)]), NO_LABELS)
    log.append([mention(2)])
    with pytest.raises(StateError, match="history is loaded before"):
        log.begin_after(clock.now, mention_table([]), NO_LABELS)
    assert [r.status for r in log.append([mention(1)])] == ["duplicate"]


def test_history_does_not_come_after_events_that_were_trimmed(
    log: EventLog, clock: TurnableClock
) -> None:
    """A log that is empty again has taken events all the same."""
    log.append([mention(1)])
    for part in range(log.partitions):
        last = log.read(part, 0, 10).position
        log.acknowledge(part, last)
        log.trim(part, before=last + 1)
    assert log.size() == 0
    with pytest.raises(StateError, match="history is loaded before"):
        log.begin_after(clock.now, mention_table([]), NO_LABELS)


def test_trimmed_position_is_refused(log: EventLog) -> None:
    """A reader whose place was trimmed away is told, not moved."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    log.acknowledge(part, 5)
    log.trim(part, before=6)
    assert [e.position for e in log.read(part, 5, 100).entries] == [6, 7, 8, 9, 10]
    with pytest.raises(StateError, match="begins at position 6"):
        log.read(part, 4, 100)


def test_backlog_is_what_waits_to_be_acknowledged(log: EventLog) -> None:
    """Each entry counts until the reader's state up to it is saved; a lower position is nothing."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    waiting = log.size()
    assert log.backlog() == waiting
    log.acknowledge(part, 7)
    assert log.backlog() == waiting - 7
    log.acknowledge(part, 3)
    assert log.backlog() == waiting - 7


def test_trimming_leaves_the_backlog_alone(log: EventLog) -> None:
    """Trimmed entries were acknowledged, so what waits stays the same."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    log.acknowledge(part, 7)
    before = (log.backlog(), log.size())
    log.trim(part, before=8)
    log.trim(part, before=3)
    assert (log.backlog(), log.size()) == (before[0], before[1] - 7)


def test_acknowledged_entries_that_are_left_are_told(log: EventLog) -> None:
    """Who trims learns which entries it may: acknowledged, and not trimmed before."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    assert log.acknowledged(part) == range(1, 1)
    log.acknowledge(part, 7)
    log.trim(part, before=3)
    assert log.acknowledged(part) == range(3, 8)


def test_unacknowledged_entries_are_not_trimmed(log: EventLog) -> None:
    """Entries that a reader may still ask for stay, and the error says how far it is."""
    log.append([mention(n) for n in range(10)])
    part = partition_of("subject:heat", 2)
    log.acknowledge(part, 4)
    with pytest.raises(StateError, match=r"before position 6 acknowledged.* up to position 4"):
        log.trim(part, before=6)
    assert [e.position for e in log.read(part, 0, 100).entries][:1] == [1]


def test_log_that_ends_before_its_reader_is_refused(log: EventLog) -> None:
    """A position beyond the end means that entries were lost: nothing is read past them."""
    log.append([mention(n) for n in range(3)])
    part = partition_of("subject:heat", 2)
    last = log.read(part, 0, 100).position
    assert log.read(part, last, 100).entries == ()
    with pytest.raises(StateError, match=f"ends at position {last}"):
        log.read(part, last + 1, 100)
    with pytest.raises(StateError, match=f"ends at position {last}"):
        log.acknowledge(part, last + 1)


def test_every_field_comes_back(log: EventLog) -> None:
    """An event is read as it was posted, with every field that its contract has."""
    posted = Mention(
        mention_id='m "1"',
        subject_id="Ärger, [Film]",
        source_id="ann\\",
        text="fine \u0000 \U0001f600\n\u2028",
        published_at=START - timedelta(microseconds=1),
        language="pt-BR",
        url="https://example.org/?a=1",
    )
    judged = Label(mention_id='m "1"', label="good", labelled_at=START, annotator="Zoë")
    assert all(posted.model_dump().values())
    log.append([posted, judged])
    for part in range(log.partitions):
        for entry in log.read(part, 0, 10).entries:
            event = entry.event
            if isinstance(event, KnownMention):
                assert event.mention == posted
                assert event.mention.model_dump() == posted.model_dump()
            else:
                assert event.label == judged
                assert (event.subject_id, event.source_id) == (posted.subject_id, posted.source_id)
    assert len(entries(log)) in {2, 4}


def test_reopened_log_holds_what_was_appended(open_log: OpenLog) -> None:
    """Entries, what is known of mentions, and what is acknowledged outlive the process."""
    with closing(open_log(2)) as log:
        log.append([mention(n) for n in range(3)])
        log.acknowledge(partition_of("subject:heat", 2), 2)
        log.heartbeat()
        before = (entries(log), log.backlog(), log.size())
        marks = [log.read(part, 0, 100).watermark for part in range(2)]
    with closing(open_log(2)) as log:
        assert (entries(log), log.backlog(), log.size()) == before
        assert [log.read(part, 0, 100).watermark for part in range(2)] == marks
        assert [r.status for r in log.append([mention(1), label(1, "bad")])] == [
            "duplicate",
            "accepted",
        ]


def test_partitions_of_a_log_are_fixed(open_log: OpenLog) -> None:
    """A log is not opened with another number of partitions, and keeps its own."""
    open_log(2).close()
    with pytest.raises(StateError, match="expected 3 partitions, found 2"):
        open_log(3)
    open_log(2).close()


def test_gateways_append_each_mention_once(open_shared_log: OpenLog) -> None:
    """Of appenders that offer the same mentions at once one is told accepted, the others not."""
    with ExitStack() as stack:
        logs = [stack.enter_context(closing(open_shared_log(2))) for _ in range(3)]

        def post(number: int) -> list[str]:
            start = number * 5
            batch = [mention(n, subject=f"s{n}") for n in range(start, start + 20)]
            return [receipt.status for receipt in logs[number % 3].append(batch)]

        with ThreadPoolExecutor(6) as threads:
            statuses = [status for answer in threads.map(post, range(30)) for status in answer]
        posted = 29 * 5 + 20
        assert statuses.count("accepted") == posted
        mine = [_id(e) for e in entries(logs[0]) if "subject" in e.roles]
        assert sorted(mine) == sorted(f"m{n}" for n in range(posted))
        for part in range(2):
            batch = logs[1].read(part, 0, 1_000)
            times = [e.event.known_at for e in batch.entries]
            assert times == sorted(set(times))
            assert [e.position for e in batch.entries] == list(range(1, len(times) + 1))


def test_no_entry_comes_behind_a_watermark(open_shared_log: OpenLog) -> None:
    """While others append and the heart beats, what is read next is known after the watermark."""
    done = Event()

    def beat(log: EventLog) -> None:
        while not done.is_set():
            log.heartbeat()

    def post(log: EventLog) -> None:
        try:
            for number in range(150):
                log.append([mention(number, subject=f"s{number}")])
        finally:
            done.set()

    with (
        closing(open_shared_log(2)) as reader,
        closing(open_shared_log(2)) as writer,
        closing(open_shared_log(2)) as heart,
        ThreadPoolExecutor(2) as threads,
    ):
        running = [threads.submit(beat, heart), threads.submit(post, writer)]
        position, watermark = 0, EARLIEST
        while not done.is_set() or reader.read(0, position, 7).entries:
            batch = reader.read(0, position, 7)
            assert all(e.event.known_at > watermark for e in batch.entries)
            assert batch.watermark >= watermark
            position, watermark = batch.position, batch.watermark
        for future in running:
            future.result()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_append_behind_one_that_hangs_is_refused(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread waits for another's append for a while, and can be told to come again then."""
    module = "feature_pipeline.eventlog." + {"sqlite": "sqlite", "redis": "redis.log"}[kind]
    monkeypatch.setattr(f"{module}._APPEND_SECONDS", 0.01)
    hanging, go_on = Event(), Event()

    def clock() -> datetime:
        hanging.set()
        assert go_on.wait(20)
        return START

    log: EventLog
    if kind == "sqlite":
        log = SqliteEventLog(tmp_path / "log.db", clock=clock)
    else:
        log = RedisEventLog(request.getfixturevalue("redis_server").address, "x", clock=clock)
    with closing(log), ThreadPoolExecutor(1) as threads:
        first = threads.submit(log.append, [mention(1)])
        try:
            assert hanging.wait(20)
            with pytest.raises(LogUnavailableError):
                log.append([mention(2)])
        finally:
            go_on.set()
        assert [receipt.status for receipt in first.result(20)] == ["accepted"]
        assert [receipt.status for receipt in log.append([mention(2)])] == ["accepted"]


def _id(entry: Entry) -> str:
    event = entry.event
    return (event.mention if isinstance(event, KnownMention) else event.label).mention_id
