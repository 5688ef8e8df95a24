"""HTTP/1.1 under uvicorn, with bounds on the head of a request: its bytes, and its time."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.errors import InputError


class BoundedHeads(HttpToolsProtocol):
    """Uvicorn's protocol, for which a request's line and headers may grow, and wait, for ever.

    A head that is not whole after `max_head_bytes` is answered with 431, one that is not whole in
    `head_seconds` with 408; a connection on which nothing comes in that time is closed. What is no
    HTTP is 400 in the shape that the services' other errors have.
    """

    max_head_bytes = 65_536
    head_seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Wait for a first request."""
        super().connection_made(transport)
        self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and look how far the head is."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.max_head_bytes:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                expected=f"at most {self.max_head_bytes} bytes",
                found="more",
            )
        elif self._head_timer is None:
            self._begin_to_wait()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Let the request begin."""
        self._in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._wait_no_more()
        self._refuse(HTTPStatus.BAD_REQUEST, expected="HTTP/1.1", found=msg)

    def _begin_to_wait(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _wait_no_more(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self._in_head:
            self.transport.close()
            return
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT,
            expected=f"all of it within {self.head_seconds:g} s",
            found=f"{self._head_bytes} bytes by then",
        )

    def _refuse(self, status: HTTPStatus, *, expected: str, found: str) -> None:
        """Answer, unless the request before is being answered, and close."""
        if self.cycle is None or self.cycle.response_complete:
            error = InputError("head of the request", expected=expected, found=found)
            body = json.dumps({"error": error.as_dict()}).encode()
            head = (
                b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()
