"""``python3 deploy/stack/secret_files.py``: the stack's ``.env`` and ``.secrets/``, if missing.

It needs no package, and Python 3.9 will do: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from hashlib import sha256
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_TOKENS = {"client": "client.token", "prometheus": "metrics.token"}
"""The files of the tokens by who holds them."""
_SCOPES = {
    "features": {"client": "events,metrics", "prometheus": "metrics"},
    "inference": {"client": "predict,models,metrics", "prometheus": "metrics"},
    "training": {"client": "train,read,metrics", "prometheus": "metrics"},
}
"""What they may ask of each service."""
_EMPTY = re.compile(r"^(\w+_PASSWORD)=$", re.MULTILINE)


def make_environment(example: Path, environment: Path) -> bool:
    """Write ``.env`` with a random password for each that is empty; False if it is there."""
    if environment.exists():
        return False
    text = _EMPTY.sub(lambda found: f"{found[1]}={secrets.token_hex(24)}", example.read_text())
    environment.touch(mode=0o600)
    environment.write_text(text)
    return True


def make_tokens(folder: Path) -> bool:
    """Write two random tokens, and for each service the digests that it knows them by.

    Containers read what is mounted into them as other users, whatever the umask is here; the folder
    is closed to others all the same.

    Returns:
        False if there are tokens already. A service's file that is missing is made; in one that is
        there, only the line of a token that was made anew changes.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    made = set()
    for client, token in _TOKENS.items():
        if not (folder / token).exists():
            (folder / token).touch(mode=0o600)
            (folder / token).write_text(secrets.token_hex(32))
            made.add(client)
    (folder / _TOKENS["prometheus"]).chmod(0o644)
    for service, scopes in _SCOPES.items():
        path = folder / f"{service}.tokens"
        lines = path.read_text().splitlines() if path.exists() else []
        for client in made if lines else _TOKENS:
            digest = sha256((folder / _TOKENS[client]).read_bytes().strip()).hexdigest()
            lines = _with_line(lines, client, f"{client} {scopes[client]} sha256:{digest}")
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o644)
    return bool(made)


def _with_line(lines: list[str], client: str, line: str) -> list[str]:
    """Return the lines with one in place of the client's first, whose token is gone."""
    for number, known in enumerate(lines):
        if known.split()[:1] == [client]:
            return [*lines[:number], line, *lines[number + 1 :]]
    return [*lines, line]


def main() -> int:
    """Make what is missing; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Makes .env and .secrets/ of the stack where they are missing.",
        epilog="What is there stays: delete a file to have it made anew.",
    )
    parser.add_argument(
        "--folder", type=Path, default=_ROOT, help="where (default: beside docker-compose.yml)"
    )
    folder = parser.parse_args().folder
    made = {
        ".env": make_environment(_ROOT / ".env.example", folder / ".env"),
        ".secrets/": make_tokens(folder / ".secrets"),
    }
    for name, anew in made.items():
        print(f"{name}: {'made' if anew else 'there already'}")  # noqa: T201 - the command line's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
