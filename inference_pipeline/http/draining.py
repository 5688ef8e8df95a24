"""A server that ends without failing a request: who holds a connection is told before it closes."""

from __future__ import annotations

import asyncio
import socket
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LINGER_SECONDS = 2.0
_POLL_SECONDS = 0.01


class DrainingServer(uvicorn.Server):
    """Uvicorn, but for how it ends.

    Uvicorn closes a connection that is between two requests at once, and with it the request that
    is on its way. Here new connections are refused first, and every answer that begins from then on
    says ``Connection: close``. What is still open after two seconds is closed as Uvicorn does.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: refuse, answer, close."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [
            *self.server_state.default_headers,
            (b"connection", b"close"),
        ]
        for connection in self.server_state.connections:
            if isinstance(connection, HttpToolsProtocol | H11Protocol):
                _let_go_after_this(connection)
        closing_at = time.monotonic() + _LINGER_SECONDS
        while self._lingers(closing_at):
            await asyncio.sleep(_POLL_SECONDS)
        await super().shutdown(sockets)

    def _lingers(self, closing_at: float) -> bool:
        open_yet = bool(self.server_state.connections) and not self.force_exit
        return open_yet and time.monotonic() < closing_at


def _let_go_after_this(connection: HttpToolsProtocol | H11Protocol) -> None:
    """Let the answer that is under way, if there is one, be the last on its connection."""
    cycle = connection.cycle
    # It took its headers when its request came.
    if cycle is not None and not cycle.response_complete:
        cycle.keep_alive = False
