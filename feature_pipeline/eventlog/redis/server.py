"""Whether a Redis server is fit for an event log."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from shared.errors import StateError
from shared.logs import get_logger

_log = get_logger(__name__)


_OLDEST = 7
"""From here on scripts may say that they free memory, and run on a full server."""


def check_server(client: Redis, place: str) -> None:
    """Return if the server keeps its data, with a warning where it may lose the last second.

    A managed server may not tell its settings; then the log says what to see to.

    Raises:
        StateError: the server is too old, writes nothing to disk, or evicts data when its memory
            is full.
    """
    told: Any = client.info("server")
    version = str(told["redis_version"])
    if int(version.split(".", maxsplit=1)[0]) < _OLDEST:
        raise StateError(
            place,
            expected=f"Redis {_OLDEST} or newer",
            found=f"Redis {version}",
            remedy="Renew the server.",
        )
    _check_durable(client, place)


def _check_durable(client: Redis, place: str) -> None:
    try:
        append: Any = client.config_get("append*")
        memory: Any = client.config_get("maxmemory-policy")
    except ResponseError as error:
        _log.warning(
            "Redis does not tell whether it is durable: see that appendonly is on and that"
            " maxmemory-policy is noeviction",
            place=place,
            found=str(error),
        )
        return
    if append.get("appendonly") != "yes":
        raise StateError(
            place,
            expected="a server that writes to disk (appendonly yes)",
            found=f"appendonly {append.get('appendonly')}",
            remedy="Set appendonly yes and appendfsync always in redis.conf, or use another server:"
            " one that forgets when it stops would lose events for which receipts were given.",
        )
    if str(memory.get("maxmemory-policy")).startswith("allkeys"):
        raise StateError(
            place,
            expected="a server that evicts nothing of the log (maxmemory-policy noeviction)",
            found=f"maxmemory-policy {memory['maxmemory-policy']}",
            remedy="Set maxmemory-policy noeviction, or give the log a server of its own.",
        )
    if append.get("appendfsync") != "always":
        _log.warning(
            "Redis may lose the last second of received events when its machine fails;"
            " with appendfsync always it loses none",
            place=place,
            appendfsync=append.get("appendfsync"),
        )
