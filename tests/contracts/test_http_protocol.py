"""Heads of requests, against a real server on a loopback port."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from shared.bearer import Receive, Scope, Send
from shared.http_protocol import BoundedHeads
from shared.refusal import send_json

GET = b"GET /%s HTTP/1.1\r\nhost: here\r\n\r\n"


class Hasty(BoundedHeads):
    """Waits for a fifth of a second only."""

    head_seconds = 0.2


class Patient(BoundedHeads):
    """Never runs out of time in a test."""

    head_seconds = 600.0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with how long the path was."""
    while (await receive()).get("more_body"):
        pass
    await send_json(send, 200, len(scope["path"]), {})


@contextmanager
def connected(protocol: type[BoundedHeads]) -> Iterator[socket.socket]:
    """A connection to a server of that protocol."""
    config = uvicorn.Config(app, http=protocol, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with socket.create_connection(listening.getsockname(), timeout=30) as connection:
                yield connection
        finally:
            server.should_exit = True
            thread.join()


def until_closed(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    told = b""
    while part := connection.recv(65_536):
        told += part
    return told


def error_in(told: bytes) -> dict[str, str]:
    """Return the error of an answer."""
    error: dict[str, str] = json.loads(told.partition(b"\r\n\r\n")[2])["error"]
    return error


@pytest.fixture
def patient() -> Iterator[socket.socket]:
    """A connection to a server that waits."""
    with connected(Patient) as connection:
        yield connection


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nx: "], ids=["line", "header"])
def test_endless_head_is_refused(patient: socket.socket, begin: bytes) -> None:
    """After 64 KiB the server says so and closes, whatever else would come."""
    patient.sendall(begin)
    with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the moment has it
        patient.sendall(b"a" * 100_000_000)


def test_head_that_is_too_large_is_told(patient: socket.socket) -> None:
    """The answer names the limit, in the shape of other errors."""
    patient.sendall(b"GET /" + b"a" * 65_536)
    told = until_closed(patient)
    assert told.startswith(b"HTTP/1.1 431 ")
    assert error_in(told)["expected"] == "at most 65536 bytes"


def test_what_is_no_http_is_told(patient: socket.socket) -> None:
    """It is 400, in the shape of other errors."""
    patient.sendall(b"no HTTP at all\r\n\r\n")
    told = until_closed(patient)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert error_in(told)["place"] == "head of the request"


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", b""), (b"GET / HTT", b"HTTP/1.1 408 "), (b"GET / HTTP/1.1\r\nx: y", b"HTTP/1.1 408 ")],
    ids=["nothing", "half a line", "half a header"],
)
def test_head_that_does_not_come_is_given_up(sent: bytes, status: bytes) -> None:
    """Nobody holds a connection by sending nothing, or half a head."""
    with connected(Hasty) as connection:
        connection.sendall(sent)
        assert until_closed(connection)[: len(status)] == status


def test_second_head_on_a_connection_is_bounded_too() -> None:
    """What was answered before buys no time for the next."""
    with connected(Hasty) as connection:
        connection.sendall(GET % b"abc")
        assert connection.recv(65_536).endswith(b"4")
        connection.sendall(b"GET /")
        assert b" 408 " in until_closed(connection)


def test_time_for_the_head_is_no_time_for_the_body() -> None:
    """A request whose head came in time may take longer."""
    with connected(Hasty) as connection:
        connection.sendall(b"POST /ab HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\nx")
        connection.settimeout(3 * Hasty.head_seconds)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        connection.sendall(b"y")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_long_heads_and_pipelines_are_answered(patient: socket.socket) -> None:
    """Requests within the bound are answered in their order, also those sent at once."""
    patient.sendall(GET % (b"a" * 30_000) + GET % (b"b" * 30_001))
    told = b""
    while not told.endswith(b"30002"):
        told += patient.recv(65_536)
    assert told.count(b"HTTP/1.1 200 ") == 2
    assert b"30001" in told
