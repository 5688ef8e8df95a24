"""``python3 deploy/stack/secret_files.py``: the stack's ``.env`` and ``.secrets/``, if missing.

It needs no package: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_SCOPES = {
    "features": ("events,metrics", "metrics"),
    "inference": ("predict,models,metrics", "metrics"),
    "training": ("train,read,metrics", "metrics"),
}
"""What the client and the watcher may ask of each service."""
_CLIENT, _WATCHER = "client.token", "metrics.token"
_EMPTY = re.compile(r"^(\w+_PASSWORD)=$", re.MULTILINE)
_IMAGE = re.compile(r"^#(PROMETHEUS_IMAGE)=(([\w./-]+):\S+)$", re.MULTILINE)


def make_environment(example: Path, environment: Path) -> bool:
    """Write ``.env`` with a random password for each that is empty; return False if there is one.

    Where the pinned image of Prometheus is missing and another of its name is there, as on a
    machine that reaches no registry, that one is used.
    """
    if environment.exists():
        return False
    text = _EMPTY.sub(lambda found: f"{found[1]}={secrets.token_hex(24)}", example.read_text())
    text = _IMAGE.sub(_image_at_hand, text)
    environment.touch(mode=0o600)
    environment.write_text(text)
    return True


def make_tokens(folder: Path) -> bool:
    """Write two random tokens, and for each service the digests that it knows them by.

    The files of digests hold nothing secret, and containers read them as another user; the folder
    is closed to others all the same.

    Returns:
        False if there are tokens already; a service's file that is missing is made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    made = False
    for name in (_CLIENT, _WATCHER):
        if not (folder / name).exists():
            (folder / name).write_text(secrets.token_hex(32))
            made = True
    (folder / _CLIENT).chmod(0o600)
    digests = [
        sha256((folder / name).read_bytes().strip()).hexdigest() for name in (_CLIENT, _WATCHER)
    ]
    for service, scopes in _SCOPES.items():
        path = folder / f"{service}.tokens"
        if made or not path.exists():
            names = ("client", "prometheus")
            lines = zip(names, scopes, digests, strict=True)
            path.write_text("".join(f"{n} {s} sha256:{d}\n" for n, s, d in lines))
    return made


def _image_at_hand(found: re.Match[str]) -> str:
    setting, pinned, name = found[1], found[2], found[3]
    if shutil.which("docker") is None or _on_this_machine(pinned) or not _on_this_machine(name):
        return found[0]
    return f"{setting}={name}"


def _on_this_machine(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - of our own file


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
