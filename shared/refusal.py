"""Answers that no route gives: JSON, straight into an ASGI server."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared.bearer import Send


async def send_json(send: Send, status: int, document: object, headers: Mapping[str, str]) -> None:
    """Answer a request without the cost of a route or a framework.

    Args:
        send: of the request.
        status: of the answer.
        document: its body.
        headers: beside those of the body.
    """
    body = json.dumps(document).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
