"""Who may ask a service for what: bearer tokens and their scopes, read from a file.

A line of the file holds a name, scopes and the token, or ``sha256:`` and its SHA-256 in hex, so
that the file itself need not be a secret. Blank lines and lines that begin with ``#`` say nothing::

    # name    scopes           token
    checkout  predict          1f0c…
    ops       models,metrics   sha256:9b74…
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from shared.errors import SettingsError

MIN_TOKEN_CHARS = 32
"""As many hex digits hold 128 bits, which nobody guesses."""

_DIGEST = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What a bearer token may hold, as RFC 6750 has it."""
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = 3


@dataclass(frozen=True)
class Client:
    """Somebody who holds a token."""

    name: str
    scopes: frozenset[str]


class TokenBook:
    """Knows clients by their tokens. It keeps digests: the tokens themselves are forgotten."""

    def __init__(self, clients: Iterable[tuple[bytes, Client]]) -> None:
        """Take clients by the SHA-256 of their token."""
        self._clients = tuple(clients)

    def find(self, token: bytes) -> Client | None:
        """Return who holds a token, None if nobody does.

        Every digest is compared, each in constant time: how long it takes tells nothing.
        """
        digest = sha256(token).digest()
        found = None
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found


def read_tokens(path: Path, *, scopes: Collection[str], setting: str) -> TokenBook:
    """Read a file of tokens.

    Args:
        path: of the file.
        scopes: those that the service knows.
        setting: the environment variable that names the file, for errors.

    Raises:
        SettingsError: the file cannot be read or says what it must not. The message names the line
            and never repeats what could be a token.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"environment variable {setting}",
            expected="a file of tokens that can be read",
            found=f"{path}: {error.strerror if isinstance(error, OSError) else 'no UTF-8'}",
        ) from None
    clients: dict[bytes, Client] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{path}, line {number}"
        digest, client = _entry(place, line.split(), scopes)
        if client.name in {known.name for known in clients.values()}:
            raise SettingsError(place, expected="a name of its own", found=repr(client.name))
        if digest in clients:
            raise SettingsError(
                place, expected="a token of its own", found=f"that of {clients[digest].name}"
            )
        clients[digest] = client
    if not clients:
        raise SettingsError(str(path), expected="one token or more", found="none")
    return TokenBook(clients.items())


def _entry(place: str, fields: list[str], scopes: Collection[str]) -> tuple[bytes, Client]:
    if len(fields) != _FIELDS:
        raise SettingsError(
            place, expected="NAME SCOPE[,SCOPE] TOKEN", found=f"{len(fields)} fields"
        )
    name, listed, token = fields
    if not _NAME.fullmatch(name):
        # Not repeated: it may be a token in the wrong place, as any field may.
        raise SettingsError(
            place, expected="a name of up to 63 letters, digits, '.', '_', '-'", found="another"
        )
    asked = frozenset(listed.split(","))
    if not asked <= frozenset(scopes):
        raise SettingsError(
            place, expected=f"scopes out of {', '.join(sorted(scopes))}", found="another one"
        )
    return _digest(place, token), Client(name, asked)


def _digest(place: str, token: str) -> bytes:
    if token.startswith(_DIGEST):
        digest = token.removeprefix(_DIGEST).lower()
        if not _HEX_DIGEST.fullmatch(digest):
            raise SettingsError(
                place, expected=f"64 hex digits after {_DIGEST}", found="something else"
            )
        return bytes.fromhex(digest)
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            place,
            expected="a token of letters, digits and -._~+/",
            found="one with other characters",
        )
    if len(token) < MIN_TOKEN_CHARS:
        raise SettingsError(
            place,
            expected=f"a token of {MIN_TOKEN_CHARS} characters or more",
            found=f"{len(token)}",
            remedy="`openssl rand -hex 32` makes one.",
        )
    return sha256(token.encode()).digest()
