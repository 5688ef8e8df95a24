"""Kept results: what was trained while the registry was away, on the disk until it is back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.disk import disk_errors, sync_tree, write_whole
from shared.errors import StateError
from shared.validation import first_error
from training_pipeline.gate.verdict import Verdict
from training_pipeline.registry.candidate import Candidate, Sample
from training_pipeline.result import RowCounts, TrainResult
from training_pipeline.trained import Trained

RESULT_FILE = "result.json"
_CANDIDATE_FILE, _MODEL_FOLDER = "candidate.json", "model"
_REPORT_FILE, _DIFF_FILE = "report.html", "code.diff"
_UNFINISHED = ".unfinished"


class KeptError(StateError):
    """The registry did not take a trained model, which is kept."""

    def __init__(self, folder: Path, found: str) -> None:
        self.folder = folder
        super().__init__(
            "model registry",
            expected="to take the trained model",
            found=found,
            remedy=f"Nothing is lost: it is kept in {folder}. Once the registry is back, run"
            f" `python -m training_pipeline register --kept {folder}`.",
        )


class _Document(BaseModel):
    """What ``candidate.json`` holds: all of a candidate that is no file."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format: Literal[1] = 1
    name: str
    feature_hash: str
    verdict: Verdict
    reason: str
    started_at: float
    params: dict[str, str]
    metrics: dict[str, float]
    losses: list[float]
    reproduction: dict[str, object]
    system: list[Sample]
    champion: str | None
    candidate_id: str
    rows: RowCounts
    dataset_sha256: str


class KeptResults:
    """Kept results, a folder each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the folder of a result, kept or not."""
        return self.folder / name

    def holds(self, name: str) -> bool:
        """Tell whether a result of this name waits."""
        return is_kept(self.path(name))

    def waiting(self) -> list[Path]:
        """Return the folders of all that wait, by name."""
        return sorted(path for path in self._folders() if is_kept(path))

    def broken(self) -> list[Path]:
        """Return the folders that hold neither a result that waits nor what one came to."""
        told = (RESULT_FILE, _CANDIDATE_FILE)
        return sorted(
            path for path in self._folders() if not any((path / name).is_file() for name in told)
        )

    def remove_unfinished(self, before: float) -> list[Path]:
        """Remove what was not kept to the end by a process that is gone; return the folders.

        Whoever was interrupted so goes on from a checkpoint, and needs nothing of it.

        Args:
            before: seconds since 1970; younger folders may be at work.
        """
        removed = []
        for path in sorted(self.folder.glob(f".*{_UNFINISHED}")):
            with suppress(FileNotFoundError):  # it was kept to the end meanwhile
                if path.stat().st_mtime < before:
                    shutil.rmtree(path)
                    removed.append(path)
        return removed

    def keep(self, name: str, trained: Trained) -> Path:
        """Keep what was trained, whole or not at all; its files are moved. Return the folder.

        Raises:
            StateError: the disk does not take it.
        """
        target = self.path(name)
        unfinished = self.folder / f".{name}{_UNFINISHED}"
        candidate = trained.candidate
        with disk_errors(f"kept result {target}"), _removed_on_error(unfinished):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            (unfinished / _CANDIDATE_FILE).write_text(
                _document(trained).model_dump_json(), encoding="utf-8"
            )
            (unfinished / _REPORT_FILE).write_text(candidate.report, encoding="utf-8")
            (unfinished / _DIFF_FILE).write_text(candidate.code_diff, encoding="utf-8")
            shutil.copytree(candidate.folder, unfinished / _MODEL_FOLDER, copy_function=_link)
            sync_tree(unfinished)
            shutil.rmtree(target, ignore_errors=True)  # of an earlier result: only what it came to
            unfinished.rename(target)
            sync_tree(self.folder, below=False)
        return target

    def _folders(self) -> list[Path]:
        return [path for path in self.folder.glob("[!.]*") if path.is_dir()]


def is_kept(folder: Path) -> bool:
    """Tell whether a folder holds a result that waits to be registered."""
    return (folder / _CANDIDATE_FILE).is_file()


def load_kept(folder: Path) -> Trained:
    """Return a kept result.

    Raises:
        StateError: the folder holds none, or one that cannot be read.
    """
    if not is_kept(folder):
        raise StateError(
            f"kept result {folder}",
            expected=f"a folder with {_CANDIDATE_FILE}",
            found="none",
            remedy="`python -m training_pipeline register --all` registers whatever waits.",
        )
    try:
        document = _Document.model_validate_json((folder / _CANDIDATE_FILE).read_bytes())
        report = (folder / _REPORT_FILE).read_text(encoding="utf-8")
        diff = (folder / _DIFF_FILE).read_text(encoding="utf-8")
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise StateError(
            f"kept result {folder}, {_CANDIDATE_FILE}, {field}",
            expected=expected,
            found=found,
            remedy="Register it with the release that kept it.",
        ) from error
    except OSError as error:
        raise StateError(
            f"kept result {folder}",
            expected="files that can be read",
            found=error.strerror or type(error).__name__,
        ) from error
    candidate = Candidate(
        folder=folder / _MODEL_FOLDER,
        report=report,
        code_diff=diff,
        **{name: getattr(document, name) for name in _CANDIDATE_FIELDS},
    )
    return Trained(candidate, document.rows, document.dataset_sha256)


def settle_kept(folder: Path, result: TrainResult, result_file: Path | None = None) -> None:
    """Write what a kept result came to, and remove its files.

    Args:
        folder: of the kept result.
        result: what it came to.
        result_file: where that is written; by default it stays in the folder, as ``result.json``.

    Raises:
        StateError: the disk does not take the result; the kept files stay.
    """
    target = result_file or folder / RESULT_FILE
    write_whole(target, result.model_dump_json(indent=2))
    (folder / _CANDIDATE_FILE).unlink()  # first: from now on it waits for nothing
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.samefile(target):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


_CANDIDATE_FIELDS = tuple(
    name for name in _Document.model_fields if name not in {"format", "rows", "dataset_sha256"}
)


def _document(trained: Trained) -> _Document:
    candidate = replace(
        trained.candidate,
        params={name: str(value) for name, value in trained.candidate.params.items()},
    )
    return _Document(
        rows=trained.rows,
        dataset_sha256=trained.dataset_sha256,
        **{name: getattr(candidate, name) for name in _CANDIDATE_FIELDS},
    )


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _link(source: str, target: str) -> None:
    """Give a file a second name, which takes no room; copy it to another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
