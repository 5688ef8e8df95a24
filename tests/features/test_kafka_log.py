"""What a log on Kafka adds to what every log promises: brokers, a takeover, a ledger to rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import Message, Producer, TopicPartition

from feature_pipeline.definition.records import KnownLabel, KnownMention, mention_table
from feature_pipeline.eventlog.kafka import partition_consumer, writer
from feature_pipeline.eventlog.kafka.address import KafkaAddress
from feature_pipeline.eventlog.kafka.clients import consumer
from feature_pipeline.eventlog.kafka.log import KafkaEventLog
from feature_pipeline.eventlog.kafka.partition_consumer import PartitionConsumer
from feature_pipeline.eventlog.kafka.topics import KafkaTopics
from feature_pipeline.eventlog.port import LogUnavailableError, partition_of
from shared.errors import StateError
from shared.events import EARLIEST
from tests.features.conftest import START, TurnableClock
from tests.features.test_eventlog import NO_LABELS, label, mention
from tests.kafka_cluster import (
    END_TRANSACTION,
    INVALID_TRANSACTION_STATE,
    NO_ERROR,
    PRODUCER_FENCED,
    KafkaCluster,
    kafka_log,
)

HEAT = partition_of("subject:heat", 2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def log(kafka_cluster: KafkaCluster, cache: Path) -> Iterator[KafkaEventLog]:
    with closing(kafka_log(kafka_cluster, cache)) as made:
        yield made


def test_every_position_is_found_again(kafka_cluster: KafkaCluster, cache: Path) -> None:
    """Markers and heartbeats leave gaps between offsets, never between positions."""
    with closing(kafka_log(kafka_cluster, cache)) as gateway:
        for number in range(12):
            gateway.append([mention(number)])
            for _ in range(number % 4):
                gateway.heartbeat()
        last = gateway.read(HEAT, 0, 100).position
    with closing(kafka_log(kafka_cluster, cache.with_name("none.db"))) as reader:
        for after in (7, 0, last - 1, *range(last)):
            (entry,) = reader.read(HEAT, after, 1).entries
            assert entry.position == after + 1
        assert reader.read(HEAT, last, 1).entries == ()


def test_reader_far_behind_is_told_of_trimmed_entries(
    kafka_cluster: KafkaCluster, log: KafkaEventLog, cache: Path
) -> None:
    """Entries that brokers deleted on their own are missed and told, be it some or all."""
    log.append([mention(n) for n in range(9)])
    log.append([mention(9)])
    _, end = _ends(kafka_cluster, HEAT)
    kafka_cluster.delete_records("reviews", HEAT, end - 2)
    with closing(kafka_log(kafka_cluster, cache.with_name("none.db"))) as reader:
        with pytest.raises(StateError, match="position 3, found a log that begins at position 10"):
            reader.read(HEAT, 3, 100)
        kafka_cluster.delete_records("reviews", HEAT, end)
        with pytest.raises(StateError, match="position 0, found a log that begins at position 11"):
            reader.read(HEAT, 0, 100)
        assert reader.read(HEAT, 10, 100).entries == ()


def test_no_entry_comes_behind_a_watermark(
    kafka_cluster: KafkaCluster, log: KafkaEventLog, cache: Path
) -> None:
    """While the gateway appends and its heart beats, a reader elsewhere never looks back."""
    done = Event()

    def beat() -> None:
        while not done.is_set():
            log.heartbeat()

    def post() -> None:
        try:
            for number in range(100):
                log.append([mention(number, subject=f"s{number}")])
        finally:
            done.set()

    elsewhere = kafka_log(kafka_cluster, cache.with_name("none.db"))
    with closing(elsewhere) as reader, ThreadPoolExecutor(2) as threads:
        running = [threads.submit(beat), threads.submit(post)]
        position, watermark, read = 0, EARLIEST, 0
        while not done.is_set() or reader.read(0, position, 7).entries:
            batch = reader.read(0, position, 7)
            assert all(e.event.known_at > watermark for e in batch.entries)
            assert batch.watermark >= watermark
            position, watermark, read = batch.position, batch.watermark, read + len(batch.entries)
        for future in running:
            future.result()
        assert read == position > 0


def test_watermark_stands_where_history_ends(
    kafka_cluster: KafkaCluster, cache: Path, clock: TurnableClock
) -> None:
    """Marks of a gateway before the backfill do not hold a reader back behind history."""
    with closing(kafka_log(kafka_cluster, cache, clock=clock)) as gateway:
        gateway.heartbeat()
    watermark = clock.now + timedelta(hours=1)
    with closing(kafka_log(kafka_cluster, cache, clock=clock)) as backfill:
        backfill.begin_after(watermark, mention_table([KnownMention(mention(1), START)]), NO_LABELS)
    with closing(kafka_log(kafka_cluster, cache.with_name("none.db"))) as reader:
        assert [reader.read(part, 0, 9).watermark for part in range(2)] == [watermark, watermark]


def test_clock_is_the_last_one(
    kafka_cluster: KafkaCluster,
    log: KafkaEventLog,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the ledger's end comes in several pieces with a clock each, the last one counts."""
    monkeypatch.setattr(partition_consumer, "_PIECE", 1)
    for number in range(3):
        log.append([mention(number)])
    tail = Producer({"bootstrap.servers": kafka_cluster.brokers})
    for _ in range(2):  # as an aborted transaction does, it moves the end away from the clocks
        tail.produce("reviews.ledger", b"", b"none", partition=0)
    assert tail.flush(5) == 0
    with closing(kafka_log(kafka_cluster, cache.with_name("none.db"))) as reader:
        assert reader.backlog() == log.backlog() > 0


def test_size_asks_for_the_first_entry_once(
    log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is asked for its size each second fetches entries only after it was trimmed."""
    for number in range(6):
        log.append([mention(number)])
    whole = log.size()
    log.acknowledge(HEAT, 6)
    log.trim(HEAT, before=3)
    fetched: list[int] = []
    first_from = PartitionConsumer.first_from

    def counted(consumer: PartitionConsumer, offset: int) -> Message | None:
        fetched.append(offset)
        return first_from(consumer, offset)

    monkeypatch.setattr(PartitionConsumer, "first_from", counted)
    assert [log.size() for _ in range(3)] == [whole - 2] * 3
    assert len(fetched) == 1
    assert [entry.position for entry in log.read(HEAT, 2, 9).entries] == [3, 4, 5, 6]
    log.trim(HEAT, before=5)
    assert log.size() == whole - 4
    assert log.acknowledged(HEAT) == range(5, 7)


def test_next_gateway_knows_what_the_last_one_took(
    kafka_cluster: KafkaCluster, cache: Path, clock: TurnableClock
) -> None:
    """On a machine with nothing but the address, mentions, labels and time are as they were."""
    with closing(kafka_log(kafka_cluster, cache, clock=clock)) as first:
        first.append([mention(1), mention(2), label(1, "bad")])
        first.heartbeat()
    clock.turn(hours=-1)
    with closing(kafka_log(kafka_cluster, cache.with_name("other.db"), clock=clock)) as second:
        receipts = second.append([mention(2), label(1, "bad"), label(1, "good"), mention(3)])
        assert [r.status for r in receipts] == ["duplicate", "duplicate", "accepted", "accepted"]
        seen = second.read(HEAT, 0, 100).entries
        times = [entry.event.known_at for entry in seen]
        assert times == sorted(set(times))
        assert [entry.position for entry in seen] == list(range(1, len(seen) + 1))
        corrected = seen[-2].event
        assert isinstance(corrected, KnownLabel)
        assert corrected.previous_label == "bad"


def test_restart_reads_only_the_rest_of_the_ledger(
    kafka_cluster: KafkaCluster, cache: Path
) -> None:
    """What the cache holds is not read again; without it, a ledger that was cut is refused."""
    with closing(kafka_log(kafka_cluster, cache)) as log:
        log.append([mention(1)])
    with closing(kafka_log(kafka_cluster, cache.with_name("other.db"))) as log:
        log.append([mention(2)])
    kafka_cluster.delete_records("reviews.ledger", 0, before=2)
    with closing(kafka_log(kafka_cluster, cache)) as log:
        receipts = log.append([mention(1), mention(2)])
        assert [r.status for r in receipts] == ["duplicate", "duplicate"]
    with (
        closing(kafka_log(kafka_cluster, cache.with_name("new.db"))) as log,
        pytest.raises(StateError, match=r"reviews\.ledger.* begins at 2.*compact"),
    ):
        log.append([mention(1)])


def test_superseded_gateway_stops(kafka_cluster: KafkaCluster, log: KafkaEventLog) -> None:
    """A gateway that was fenced says so from then on, and does not take the log back."""
    log.append([mention(1)])
    kafka_cluster.fail(END_TRANSACTION, PRODUCER_FENCED)
    with pytest.raises(LogUnavailableError, match="another one that has taken over"):
        log.append([mention(2)])
    with pytest.raises(LogUnavailableError, match="another one that has taken over"):
        log.heartbeat()


def test_brokers_may_be_away_for_a_while(kafka_cluster: KafkaCluster, cache: Path) -> None:
    """Meanwhile callers are told; afterwards the same log goes on with nothing lost or doubled."""
    with closing(kafka_log(kafka_cluster, cache, answer_seconds=2.0)) as log:
        log.append([mention(1)])
        assert log.read(HEAT, 0, 100).position == 1
        kafka_cluster.stop()
        with pytest.raises(LogUnavailableError, match="reviews: expected brokers"):
            log.append([mention(2)])
        with pytest.raises(LogUnavailableError, match="reviews: expected brokers"):
            log.read(HEAT, 1, 100)
        kafka_cluster.start()
        assert _until_answered(log) == ["duplicate", "accepted"]
        assert [e.position for e in log.read(HEAT, 0, 100).entries] == [1, 2]


def test_log_without_brokers_is_not_opened(kafka_cluster: KafkaCluster, cache: Path) -> None:
    """At the start as well, the error names the address, and no password."""
    kafka_cluster.stop()
    address = KafkaAddress(kafka_cluster.brokers, "reviews", {"sasl.password": "hush"}, 0.5)
    with pytest.raises(LogUnavailableError, match=r"kafka://127\.0\.0\.1:\d+/reviews") as caught:
        KafkaEventLog(address, 2, cache)
    assert "hush" not in str(caught.value) + repr(address)


def test_history_half_told_is_not_appended_to(
    kafka_cluster: KafkaCluster, log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill that broke off between two transactions must be run to its end first."""
    monkeypatch.setattr(writer, "_HISTORY_CHUNK", 2)
    history = [KnownMention(mention(n), START) for n in range(6)]
    kafka_cluster.fail(END_TRANSACTION, NO_ERROR, INVALID_TRANSACTION_STATE)
    with pytest.raises(LogUnavailableError):
        log.begin_after(START, mention_table(history), NO_LABELS)
    with pytest.raises(LogUnavailableError, match="a backfill that was broken off"):
        log.append([mention(7)])
    log.begin_after(START, mention_table(history[1:]), NO_LABELS)
    receipts = log.append([mention(0), mention(5)])
    assert [r.status for r in receipts] == ["accepted", "duplicate"]


def test_acknowledged_offsets_are_kafkas_own(
    kafka_cluster: KafkaCluster, log: KafkaEventLog
) -> None:
    """The group's committed offset lies behind the acknowledged entry, as lag tools expect."""
    for number in range(4):
        log.append([mention(number)])
    for position in (1, 2):
        assert log.read(HEAT, position - 1, 1).position == position
    log.acknowledge(HEAT, 1)
    log.acknowledge(HEAT, 3)
    with closing(consumer(kafka_cluster.address("reviews"))) as group:
        (place,) = group.committed([TopicPartition("reviews", HEAT)], timeout=5)
    # Each transaction takes two offsets here: its entry and its marker.
    assert (place.offset, place.metadata) == (5, "3")


def test_offsets_that_others_commit_acknowledge_nothing(
    kafka_cluster: KafkaCluster, log: KafkaEventLog
) -> None:
    """An offset that a tool set tells no position: all entries wait again, and none is lost."""
    log.append([mention(n) for n in range(3)])
    log.acknowledge(HEAT, 2)
    waiting = log.backlog()
    with closing(consumer(kafka_cluster.address("reviews"))) as tool:
        tool.commit(offsets=[TopicPartition("reviews", HEAT, 3)], asynchronous=False)
    assert log.backlog() == waiting + 2
    log.acknowledge(HEAT, 2)
    assert log.backlog() == waiting


def test_records_of_others_are_refused(kafka_cluster: KafkaCluster, log: KafkaEventLog) -> None:
    """A record that no gateway wrote is named by its place and not taken for an event."""
    stranger = Producer({"bootstrap.servers": kafka_cluster.brokers})
    stranger.produce("reviews", b"hello", partition=HEAT)
    assert stranger.flush(5) == 0
    log.append([mention(1)])
    with pytest.raises(StateError, match=f"partition {HEAT}, offset 0: expected a record that a"):
        log.read(HEAT, 0, 10)


def test_brokers_that_cannot_trim_are_named(kafka_cluster: KafkaCluster, cache: Path) -> None:
    """A request that the brokers refuse is an error of theirs, and nothing is forgotten."""
    address = kafka_cluster.address("reviews")
    with closing(kafka_log(kafka_cluster, cache)) as log:
        log.append([mention(1)])
        with pytest.raises(LogUnavailableError, match="not supported by broker"):
            KafkaTopics(address).delete_before(HEAT, 1)
        assert len(log.read(HEAT, 0, 10).entries) == 1


def _until_answered(log: KafkaEventLog) -> list[str]:
    """Append as a client does that tries again; the cluster needs a moment to be found."""
    for _ in range(10):
        try:
            return [receipt.status for receipt in log.append([mention(1), mention(2)])]
        except LogUnavailableError:
            continue
    pytest.fail("the brokers are back, but the log is not")


def _ends(cluster: KafkaCluster, partition: int) -> tuple[int, int]:
    with closing(consumer(cluster.address("reviews"))) as asking:
        return asking.get_watermark_offsets(TopicPartition("reviews", partition), timeout=5)
