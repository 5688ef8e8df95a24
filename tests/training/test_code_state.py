from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from shared.errors import StateError
from training_pipeline.reproduction import code
from training_pipeline.reproduction.code import check_clean, code_state


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that knows a package of one module."""
    package = tmp_path / "clone" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 41\n")
    git(package.parent, "init", "--quiet")
    git(package, "add", ".")
    git(package, "commit", "--quiet", "--message", "first")
    return package


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_clean_clone_is_its_commit(clone: Path) -> None:
    """Files that are no code, and ones that git ignores, make no difference."""
    (clone / "notes.txt").write_text("not code")
    state = code_state(package=clone)
    assert state.code.commit == git(clone, "rev-parse", "HEAD")
    assert (state.code.commit_from, state.code.dirty, state.code.diff_sha256) == (
        "git",
        False,
        None,
    )
    assert state.diff == b""
    check_clean(state)


def test_changes_and_new_modules_are_kept_and_refused(clone: Path) -> None:
    """The difference holds both, makes the same code again, and leaves the clone's index alone."""
    (clone / "__init__.py").write_text("ANSWER = 42\n")
    (clone / "new.py").write_text("NEW = True\n")
    before = git(clone, "status", "--porcelain")
    state = code_state(package=clone)
    assert git(clone, "status", "--porcelain") == before
    assert (state.code.dirty, state.code.diff_kept) == (True, True)
    assert state.code.diff_sha256 == hashlib.sha256(state.diff).hexdigest()
    assert state.code.diff_bytes == len(state.diff)
    with pytest.raises(StateError, match=r"found package/__init__\.py, package/new\.py\. Commit"):
        check_clean(state)
    git(clone, "stash", "--quiet", "--include-untracked")
    (clone.parent / "code.diff").write_bytes(state.diff)
    git(clone.parent, "apply", "code.diff")
    assert (clone / "__init__.py").read_text() == "ANSWER = 42\n"
    assert (clone / "new.py").read_text() == "NEW = True\n"


def test_a_long_difference_leaves_its_hash(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than the limit is not kept, and the record says so."""
    monkeypatch.setattr(code, "MAX_DIFF_BYTES", 1_000)
    (clone / "new.py").write_text("# a long line\n" * 1_000)
    state = code_state(package=clone)
    assert state.code.diff_bytes > 14_000
    assert (state.code.diff_kept, state.diff) == (False, b"")
    assert state.code.diff_sha256 is not None


@pytest.mark.parametrize("commit", ["", "0123abc"])
def test_without_a_clone_the_commit_is_the_setting(tmp_path: Path, commit: str) -> None:
    """An image tells its commit; where nobody does, the record says null, and it is allowed."""
    (tmp_path / "__init__.py").touch()
    state = code_state(commit, package=tmp_path)
    assert state.code.commit == (commit or None)
    assert state.code.commit_from == ("setting" if commit else None)
    assert state.code.dirty is None
    check_clean(state)


def test_code_inside_a_clone_of_something_else_is_in_none(clone: Path) -> None:
    """A virtual environment in a clone of another project is not that project's commit."""
    (clone.parent / ".gitignore").write_text("environment\n")
    installed = clone.parent / "environment" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert code_state(package=installed).code.commit is None
