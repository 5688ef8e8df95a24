"""A server that ends without failing a request: who holds a connection is told before it closes."""

from __future__ import annotations

import asyncio
import socket
import time

import uvicorn

_LINGER_SECONDS = 2.0
_POLL_SECONDS = 0.01


class DrainingServer(uvicorn.Server):
    """Uvicorn, but for how it ends.

    Uvicorn closes a connection that is between two requests at once, and with it the request that
    is on its way. Here new connections are refused first, and every answer from then on says
    ``Connection: close``; a connection on which nothing was asked for a while is closed at last.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: refuse, answer, close."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [
            *self.server_state.default_headers,
            (b"connection", b"close"),
        ]
        closing_at = time.monotonic() + _LINGER_SECONDS
        while self.server_state.connections and time.monotonic() < closing_at:
            await asyncio.sleep(_POLL_SECONDS)
        await super().shutdown(sockets)
