"""What the event log on Redis promises beyond what every log does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Event

import pytest
from redis import Redis
from structlog.testing import capture_logs

from feature_pipeline.definition.records import KnownMention, mention_table
from feature_pipeline.eventlog.clock import utc_now
from feature_pipeline.eventlog.port import LogUnavailableError, partition_of
from feature_pipeline.eventlog.redis.append import RedisKeys
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.redis.server import check_server
from shared.errors import StateError
from tests.conftest import running_redis
from tests.features.conftest import START
from tests.features.test_eventlog import NO_LABELS, entries, mention
from tests.redis_server import RedisServer

PART = partition_of("subject:heat", 2)


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Redis]:
    """A client that may change the server's settings."""
    with closing(Redis.from_url(redis_server.address)) as client:
        yield client


def test_killed_server_has_what_was_receipted(redis_server: RedisServer) -> None:
    """Killed amid appends and started again, the server has every mention with a receipt."""
    receipted: list[str] = []
    with closing(RedisEventLog(redis_server.address, "reviews")) as log:
        started = Event()

        def post() -> None:
            for number in range(100_000):
                log.append([mention(number), mention(-number - 1)])
                receipted.extend((f"m{number}", f"m{-number - 1}"))
                if number == 20:
                    started.set()

        with ThreadPoolExecutor(1) as threads:
            posting = threads.submit(post)
            assert started.wait(timeout=60)
            redis_server.kill()
            with pytest.raises(LogUnavailableError):
                posting.result(timeout=60)
        redis_server.start()
        held = [
            e.event.mention.mention_id
            for e in entries(log)
            if "subject" in e.roles and isinstance(e.event, KnownMention)
        ]
        assert len(held) == len(set(held))
        assert set(held) >= set(receipted)
        assert len(held) - len(receipted) in {0, 2}, "the last batch is whole, or not there"


def test_large_append_is_not_starved(redis_server: RedisServer) -> None:
    """While another gateway appends small batches all the time, a large one gets its turn."""
    with (
        closing(RedisEventLog(redis_server.address, "reviews")) as small,
        closing(RedisEventLog(redis_server.address, "reviews")) as large,
        ThreadPoolExecutor(1) as threads,
    ):
        done, started = Event(), Event()

        def post() -> None:
            number = 0
            while not done.is_set():
                small.append([mention(number := number - 1)])
                started.set()

        posting = threads.submit(post)
        try:
            assert started.wait(timeout=60)
            receipts = large.append([mention(n) for n in range(2_000)])
        finally:
            done.set()
        posting.result(timeout=60)
    assert {receipt.status for receipt in receipts} == {"accepted"}


def test_turn_that_is_not_needed_is_given_back(redis_server: RedisServer, admin: Redis) -> None:
    """Who asks for a turn, and then finds that others appended the same, keeps nobody waiting."""
    overtaking = [mention(1), mention(2), mention(3)]

    def overtaken() -> datetime:
        if overtaking:
            other.append([overtaking.pop(0)])
        return utc_now()

    with (
        closing(RedisEventLog(redis_server.address, "reviews")) as other,
        closing(RedisEventLog(redis_server.address, "reviews", clock=overtaken)) as log,
    ):
        assert [r.status for r in log.append([mention(3)])] == ["duplicate"]
        assert overtaking == []
        assert not admin.exists(RedisKeys("reviews").turn)


def test_logs_share_a_server(redis_server: RedisServer) -> None:
    """Logs of two names know nothing of each other."""
    with (
        closing(RedisEventLog(redis_server.address, "reviews")) as one,
        closing(RedisEventLog(redis_server.address, "brands")) as other,
    ):
        one.append([mention(1)])
        assert other.size() == 0
        assert [r.status for r in other.append([mention(1)])] == ["accepted"]


def test_keys_stand_in_one_slot(redis_server: RedisServer, admin: Redis) -> None:
    """All keys of a log carry one hash tag, as a script on a cluster needs it."""
    with closing(RedisEventLog(redis_server.address, "reviews")) as log:
        log.append([mention(1)])
    keys = list(admin.scan_iter())
    assert len(keys) >= 3
    assert all(b"{reviews}" in key for key in keys)


def test_refused_history_leaves_nothing_behind(redis_server: RedisServer, admin: Redis) -> None:
    """What was told to a log that holds events does not stay in the server's memory."""
    with closing(RedisEventLog(redis_server.address, "reviews")) as log:
        log.append([mention(1)])
        before = set(admin.scan_iter())
        with pytest.raises(StateError, match="history is loaded before"):
            log.begin_after(START, mention_table([KnownMention(mention(2), START)]), NO_LABELS)
        assert set(admin.scan_iter()) == before


def test_old_server_is_refused() -> None:
    """A server whose scripts cannot run when it is full is named with its version."""

    class OldServer(Redis):
        def info(self, *_: object, **__: object) -> dict[str, str]:
            return {"redis_version": "6.2.14"}

    with pytest.raises(StateError, match=r"Redis 7 or newer, found Redis 6\.2\.14"):
        check_server(OldServer(), "event log")


def test_server_that_keeps_nothing_is_refused(redis_server: RedisServer, admin: Redis) -> None:
    """Without an append-only file receipts would promise too much: the log is not opened."""
    admin.config_set("appendonly", "no")
    with pytest.raises(StateError, match=r"found appendonly no.*appendonly yes"):
        RedisEventLog(redis_server.address, "reviews")


def test_server_that_evicts_is_refused(redis_server: RedisServer, admin: Redis) -> None:
    """A server that forgets any key when it is full would forget events."""
    admin.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StateError, match="noeviction"):
        RedisEventLog(redis_server.address, "reviews")


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        (("CONFIG", "SET", "appendfsync", "everysec"), "may lose the last second"),
        (("ACL", "SETUSER", "default", "-config"), "does not tell whether it is durable"),
    ],
)
def test_doubtful_server_is_warned_of(
    redis_server: RedisServer,
    admin: Redis,
    command: tuple[str, ...],
    warning: str,
) -> None:
    """A server that may lose the last second, or does not tell, is used with a warning."""
    admin.execute_command(*command)
    with capture_logs() as said, closing(RedisEventLog(redis_server.address, "reviews")) as log:
        log.append([mention(1)])
    assert [warning in line["event"] for line in said] == [True]


def test_full_server_takes_all_of_a_batch_or_nothing(
    redis_server: RedisServer, admin: Redis
) -> None:
    """A server without memory refuses a batch whole; what it has can be read and trimmed."""
    RedisEventLog(redis_server.address, "reviews").close()
    admin.config_set("maxmemory", "1mb")
    with closing(RedisEventLog(redis_server.address, "reviews")) as log:
        with pytest.raises(LogUnavailableError, match="maxmemory"):
            log.append([mention(n) for n in range(5)])
        admin.config_set("maxmemory", "0")
        log.append([mention(0)])
        admin.config_set("maxmemory", "1mb")
        log.heartbeat()
        assert log.read(PART, 0, 10).position == 1
        log.acknowledge(PART, 1)
        log.trim(PART, before=2)
        assert log.read(PART, 1, 10).entries == ()
        admin.config_set("maxmemory", "0")
        statuses = [r.status for r in log.append([mention(n) for n in range(5)])]
    assert statuses == ["duplicate", *["accepted"] * 4]


def test_emptied_server_is_noticed(redis_server: RedisServer, admin: Redis) -> None:
    """A log that somebody removed is not taken for an empty one, by writers and by readers."""
    with closing(RedisEventLog(redis_server.address, "reviews")) as log:
        log.append([mention(1)])
        admin.flushall()
        for ask in (lambda: log.append([mention(2)]), lambda: log.read(PART, 0, 1), log.backlog):
            with pytest.raises(StateError, match="emptied"):
                ask()
    with (
        closing(RedisEventLog(redis_server.address, "reviews")) as log,
        pytest.raises(StateError, match="ends at position 0"),
    ):
        log.read(PART, 1, 10)


def test_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    """The error names the host and a remedy, and nothing that is secret."""
    hidden = "s3cret"
    with running_redis(tmp_path, password=hidden) as server:
        address = server.address
        with closing(RedisEventLog(address, "reviews")) as log:
            log.append([mention(1)])
        wrong = address.replace(hidden, "0ther")
        with pytest.raises(LogUnavailableError, match=r"127\.0\.0\.1") as refused:
            RedisEventLog(wrong, "reviews")
    with pytest.raises(LogUnavailableError, match=r"127\.0\.0\.1") as away:
        RedisEventLog(address, "reviews")
    assert "0ther" not in str(refused.value)
    assert hidden not in str(away.value)
