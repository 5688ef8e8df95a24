"""The address of a Redis server: a client of it, and the words of Feast's online store."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from redis import Redis

_DEFAULT_PORT = 6379
_HOST = re.compile(r"[A-Za-z0-9._-]+")
"""Anything else, such as a comma, Feast would read as one of its options."""
_TIMEOUT_SECONDS = 5
"""To connect, and to be answered: without it a read of a server that hangs never ends."""


def check_redis_address(address: str) -> None:
    """Return if this is an address of a Redis server.

    Raises:
        ValueError: it is not; says what was expected, and nothing of what it holds.
    """
    _parts(address)


def connection_string(address: str) -> str:
    r"""Return a Redis address as Feast's Redis online store takes it.

    Feast cuts the string at commas and reads each value as JSON, hence a password goes as JSON, its
    commas escaped. Nothing is tried again below: readers have deadlines and a breaker of their own,
    and redis-py would wait longer than those.

    >>> connection_string("redis://localhost/2")
    'localhost:6379,db=2,socket_timeout=5,socket_connect_timeout=5,retry=null'
    >>> connection_string("rediss://:a,b@redis:7000")
    'redis:7000,ssl=true,password="a\\u002cb",socket_timeout=5,socket_connect_timeout=5,retry=null'

    Raises:
        ValueError: it is no address of a Redis server.
    """
    parts = _parts(address)
    settings: dict[str, object] = {}
    if parts.scheme == "rediss":
        settings["ssl"] = True
    if parts.path.strip("/"):
        settings["db"] = int(parts.path.strip("/"))
    if parts.username:
        settings["username"] = unquote(parts.username)
    if parts.password:
        settings["password"] = unquote(parts.password)
    settings |= {
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "retry": None,
    }
    pairs = (f"{name}={_json_without_commas(value)}" for name, value in settings.items())
    return ",".join([f"{parts.hostname}:{parts.port or _DEFAULT_PORT}", *pairs])


def redis_client(address: str) -> Redis:
    """Return a client that answers in bytes; it connects when it is first used, and again.

    Raises:
        ValueError: it is no address of a Redis server.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    check_redis_address(address)
    return Redis.from_url(
        address,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _json_without_commas(value: object) -> str:
    return json.dumps(value).replace(",", r"\u002c")


def _parts(address: str) -> SplitResult:
    expected = "an address such as redis://host:6379/0, or rediss:// with TLS"
    try:
        parts = urlsplit(address)
        sound = (
            parts.scheme in {"redis", "rediss"}
            and parts.hostname is not None
            and _HOST.fullmatch(parts.hostname) is not None
            and (parts.port is None or parts.port > 0)
            and not parts.query
            and not parts.fragment
            and (not parts.path.strip("/") or parts.path.strip("/").isdecimal())
        )
    except ValueError:
        sound = False
    if not sound:
        # Not from the parser's error, which quotes the address.
        raise ValueError(expected) from None
    return parts
