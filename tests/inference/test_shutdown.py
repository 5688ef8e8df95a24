"""A server process that is told to end while it is asked."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.inference.conftest import eventually, ready
from tests.inference.http_load import asking
from tests.inference.registry_files import Publisher
from tests.inference.server_process import listens, serving
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore


def test_sigterm_under_load_fails_no_request(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - registers the task's features under the home
) -> None:
    """What was sent is answered, what comes later is refused a connection, and the status is 0."""
    publisher.publish(TinyModel())
    with serving(home) as server:
        ready(server.client, "1")
        server.client.close()
        with asking(server.port, {"text": "late flight"}, connections=16) as load:
            eventually(lambda: len(load.replies), lambda count: count > 500)
            told = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=20) == 0, server.log
            eventually(lambda: load.turned_away, bool)
        load.assert_all_answered()
        assert any(reply.sent > told for reply in load.replies)


def test_a_connection_that_is_held_open_does_not_hold_up_the_end(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - as above
) -> None:
    """A client that asks nothing more is closed, long before the time that answers may take."""
    publisher.publish(TinyModel())
    with serving(home) as server:
        ready(server.client, "1")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0, server.log


def test_a_request_that_is_on_its_way_is_answered(
    home: Path,
    publisher: Publisher,
    store: FeatureStore,  # noqa: ARG001 - as above
) -> None:
    """On a connection between two requests, of the second of which a part was sent before."""
    publisher.publish(TinyModel())
    body = b'{"text": "late flight"}'
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with serving(home) as server:
        ready(server.client, "1")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(request)
            first = b""
            while not first.endswith(b"]}"):  # head and body may come apart
                first += connection.recv(65_536)
            assert first.startswith(b"HTTP/1.1 200")
            connection.sendall(request[:30])
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: listens(server.port), lambda found: not found)
            connection.sendall(request[30:])
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert answer.endswith(b"}")
        assert server.process.wait(timeout=20) == 0, server.log
