"""Load over keep-alive connections: clients that ask one question after the other, in threads."""

from __future__ import annotations

import http.client
import itertools
import json
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT_SECONDS = 20.0
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Reply:
    """A whole answer; times are of `time.monotonic`."""

    sent: float
    ended: float
    status: int
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The answer's JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def version(self) -> str:
        """The version of the model that answered."""
        version: str = self.document["model"]["version"]
        return version

    @property
    def degraded(self) -> bool:
        """Whether it was answered without features."""
        (prediction,) = self.document["predictions"]
        degraded: bool = prediction["degraded"]
        return degraded


@dataclass
class Load:
    """What came of the questions."""

    replies: list[Reply] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Of requests of which bytes were sent, and which got no whole answer."""
    turned_away: int = 0
    """Connections that were refused, so that nothing could be sent."""

    def assert_all_answered(self) -> None:
        """Fail unless there were requests, and each got a whole answer with status 200."""
        assert self.failures == []
        assert self.replies
        others = [reply for reply in self.replies if reply.status != http.client.OK]
        assert not others, f"{len(others)} of {len(self.replies)}, first {others[0]}"


@contextmanager
def asking(port: int, body: dict[str, object], *, connections: int = 4) -> Iterator[Load]:
    """Ask ``/v1/predict`` again and again on each connection while the block runs."""
    with _load(port, body, connections, lambda: None) as load:
        yield load


@contextmanager
def arriving(
    port: int, body: dict[str, object], *, rate: float, connections: int
) -> Iterator[Load]:
    """Ask so many times a second, evenly, whether or not answers come, while the block runs."""
    begin = time.monotonic()
    numbers = itertools.count()
    taking = threading.Lock()

    def wait_for_turn() -> None:
        with taking:
            due = begin + next(numbers) / rate
            time.sleep(max(0.0, due - time.monotonic()))

    with _load(port, body, connections, wait_for_turn) as load:
        yield load


@contextmanager
def _load(
    port: int, body: dict[str, object], connections: int, wait_for_turn: Callable[[], object]
) -> Iterator[Load]:
    load = Load()
    ended = threading.Event()
    payload = json.dumps(body).encode()
    threads = [
        threading.Thread(target=_ask_on, args=(port, payload, load, ended, wait_for_turn))
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join(2 * _TIMEOUT_SECONDS)


def between(replies: Sequence[Reply], start: float, end: float) -> list[Reply]:
    """Return those that were asked and answered within a time."""
    return [reply for reply in replies if start <= reply.sent and reply.ended <= end]


def _ask_on(
    port: int,
    payload: bytes,
    load: Load,
    ended: threading.Event,
    wait_for_turn: Callable[[], object],
) -> None:
    """Ask on one connection at a time, as HTTP/1.1 wants it.

    A connection that the server announced to close, or has closed, is not used again.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    while not ended.is_set():
        wait_for_turn()
        if connection.sock is not None and _was_closed(connection):
            connection.close()
        if connection.sock is None:
            try:
                connection.connect()
            except ConnectionRefusedError:
                load.turned_away += 1
                ended.wait(_PAUSE_SECONDS)
                continue
        sent = time.monotonic()
        try:
            connection.request("POST", "/v1/predict", payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            load.failures.append(f"{sent:.3f}: {error!r}")
            connection.close()
            continue
        load.replies.append(Reply(sent, time.monotonic(), answer.status, content))
    connection.close()


def _was_closed(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the other side hung up: nothing else can be read while nothing is asked."""
    readable, _, _ = select.select([connection.sock], [], [], 0)
    return bool(readable)
