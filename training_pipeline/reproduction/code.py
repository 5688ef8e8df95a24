"""The state of the code: its commit, and how it differs from it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StateError
from training_pipeline.reproduction.record import Code

DIFF_FILE = "code.diff"
MAX_DIFF_BYTES = 1_000_000
"""A longer difference is not kept; its hash is."""
_MOST_NAMED = 5
_SECONDS = 60
_CHUNK = 1 << 16
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class CodeState:
    """The code as it was at one moment."""

    code: Code
    diff: bytes = b""
    """The difference from the commit; empty if there is none or it is too long to be kept."""
    changed: tuple[str, ...] = ()
    """Files that differ: tracked ones, and modules that git does not know."""


def code_state(commit: str = "", package: Path = _PACKAGE) -> CodeState:
    """Return the state of the code.

    Args:
        commit: what the code is of, where it is in no clone of git, such as in an image.
        package: a folder of it.

    Raises:
        StateError: git knows the code, but does not answer.
    """
    top = _clone_of(package)
    if top is None:
        source = "setting" if commit else None
        return CodeState(Code(commit=commit or None, commit_from=source, dirty=None))
    head = _git(top, "rev-parse", "HEAD").strip()
    changed = _git(top, "diff", "--name-only", "-z", "HEAD").split("\0")[:-1]
    unknown = _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py")
    added = unknown.split("\0")[:-1]
    if not changed and not added:
        return CodeState(Code(commit=head, commit_from="git", dirty=False))
    sha256, length, diff = _difference(top, added)
    kept = length <= MAX_DIFF_BYTES
    code = Code(
        commit=head,
        commit_from="git",
        dirty=True,
        diff_sha256=sha256,
        diff_bytes=length,
        diff_kept=kept,
    )
    return CodeState(code, diff if kept else b"", tuple(sorted([*changed, *added])))


def check_clean(state: CodeState) -> None:
    """Refuse code that differs from its commit: nobody else could train the version again.

    Raises:
        StateError: it does; the error names files.
    """
    if not state.changed:
        return
    named = ", ".join(state.changed[:_MOST_NAMED])
    more = len(state.changed) - _MOST_NAMED
    raise StateError(
        "code of the training pipeline",
        expected=f"no change since commit {(state.code.commit or '')[:12]}, so that the version can"
        " be trained again",
        found=f"{named} and {more} more files" if more > 0 else named,
        remedy="Commit the changes; or give --allow-dirty (or FTI_TRAINING_ALLOW_DIRTY=true), and"
        " the difference is kept with the version.",
    )


def _clone_of(package: Path) -> Path | None:
    """Return the top folder of the clone that knows the package's code, if one does."""
    try:
        listed = _run(package, ("ls-files", "--error-unmatch", "--", "__init__.py"))
        top = _run(package, ("rev-parse", "--show-toplevel"))
        _run(package, ("rev-parse", "--verify", "HEAD"))
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(top.strip()) if listed else None


def _difference(top: Path, added: Sequence[str]) -> tuple[str, int, bytes]:
    """Return the difference's hash, its length, and as much of it as may be kept.

    Untracked modules are part of it: they are marked as to be added in a copy of the index.
    """
    with tempfile.TemporaryDirectory(prefix="fti-index-") as folder:
        index = Path(folder) / "index"
        shutil.copyfile(top / _git(top, "rev-parse", "--git-path", "index").strip(), index)
        environment = {"GIT_INDEX_FILE": str(index)}
        if added:
            _git(top, "add", "--intent-to-add", "--", *added, environment=environment)
        options = ("--full-index", "--no-color", "--no-ext-diff", "--no-textconv")
        command = _command(top, ("diff", *options, "HEAD"))
        digest, length, kept = hashlib.sha256(), 0, bytearray()
        with subprocess.Popen(  # noqa: S603 - git, no shell
            command, stdout=subprocess.PIPE, env={**os.environ, **environment}
        ) as process:
            while process.stdout is not None and (chunk := process.stdout.read(_CHUNK)):
                digest.update(chunk)
                length += len(chunk)
                kept += chunk[: max(0, MAX_DIFF_BYTES - len(kept))]
        if process.returncode:
            raise _unanswered(top, f"exit code {process.returncode}")
    return digest.hexdigest(), length, bytes(kept)


def _git(top: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        return _run(top, arguments, environment)
    except (OSError, subprocess.SubprocessError) as error:
        raise _unanswered(top, type(error).__name__) from error


def _run(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(  # noqa: S603 - git, no shell
        _command(folder, arguments),
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=_SECONDS,
    )
    return done.stdout


def _command(folder: Path, arguments: Sequence[str]) -> list[str]:
    return ["git", "-C", str(folder), "-c", "core.quotepath=off", *arguments]


def _unanswered(top: Path, found: str) -> StateError:
    return StateError(f"git in {top}", expected="how the code differs from its commit", found=found)
