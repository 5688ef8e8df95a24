"""Checkpoints: a fit's state on the disk, complete or not at all."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from shared.disk import disk_errors
from shared.errors import StateError, UnavailableError
from shared.logs import get_logger
from training_pipeline.fit.fingerprint import Fingerprint, differences

_log = get_logger(__name__)

_KEPT = 2
_UNFINISHED = ".unfinished"
FRESH = "Give --fresh to begin anew; what the interrupted run learned is lost then."


class Checkpoints:
    """The checkpoints of one fit, in a folder of their own. One process at a time uses it."""

    def __init__(
        self,
        folder: Path,
        *,
        every_seconds: float,
        every_steps: int | None = None,
        supersede: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where and how often; nothing is read or written before the fit.

        Args:
            folder: is made if it is missing.
            every_seconds: save after the step at which so many seconds have passed.
            every_steps: save after each so many steps, too.
            supersede: give up, rather than refuse, checkpoints of another fit.
            clock: tells seconds.
        """
        self.folder = folder
        self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._supersede = supersede
        self._clock = clock
        self._last = clock()

    def due(self, step: int) -> bool:
        """Return whether to save after this step."""
        in_steps = self._every_steps is not None and step % self._every_steps == 0
        return in_steps or self._clock() - self._last >= self._every_seconds

    def save(self, state: dict[str, Any], fingerprint: Fingerprint) -> None:
        """Save a state; the last two stay.

        Written beside, synced and renamed: whatever happens, a file of the final name is whole.

        Raises:
            UnavailableError: the disk is full, or does not take it; earlier checkpoints stay.
        """
        path = self.folder / f"step-{state['step']:09}.pt"
        unfinished = path.with_suffix(_UNFINISHED)
        content = io.BytesIO()
        torch.save({"fingerprint": fingerprint, "state": state}, content)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            self._sync_folder()
            for old in self._paths()[:-_KEPT]:
                old.unlink()
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            onwards = "goes on from the checkpoint before" if self._paths() else "begins anew"
            raise UnavailableError(
                f"checkpoint {path}",
                expected=f"a disk that takes {content.tell():,} bytes",
                found=error.strerror or type(error).__name__,
                remedy=f"Make room and start again: training {onwards}.",
            ) from error
        self._last = self._clock()

    def newest(self, fingerprint: Fingerprint) -> bytes:
        """Return the newest checkpoint, to be read with ``state_in``; empty if there is none.

        Raises:
            StateError: it is of another fit, damaged, or no file.
        """
        paths = self._paths()
        if not paths:
            return b""
        try:
            content = paths[-1].read_bytes()
        except IsADirectoryError as error:
            raise _unreadable(str(paths[-1]), "a folder") from error
        found = _read(content, str(paths[-1]))["fingerprint"]
        differing = differences(found, fingerprint)
        if not differing:
            return content
        if self._supersede:
            _log.warning("an interrupted run of something else is given up", found=differing)
            self.clear()
            return b""
        raise StateError(
            f"checkpoint {paths[-1]}",
            expected="an interrupted run of the same rows and settings",
            found=differing,
            remedy=FRESH,
        )

    def clear(self) -> None:
        """Remove all checkpoints, finished or not.

        Raises:
            StateError: something of such a name is no file, or is not to be removed.
        """
        for path in [*self._paths(), *self.folder.glob(f"*{_UNFINISHED}")]:
            with disk_errors(f"checkpoint {path}"):
                path.unlink()

    def _paths(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def _sync_folder(self) -> None:
        """Make a rename last, which otherwise may be lost with the machine's power."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def state_in(content: bytes) -> dict[str, Any]:
    """Return the state in a checkpoint; nothing is unpickled but tensors and plain values."""
    state: dict[str, Any] = _read(content, "checkpoint of the main process")["state"]
    return state


def _read(content: bytes, place: str) -> dict[str, Any]:
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {"fingerprint": found["fingerprint"], "state": found["state"]}
    except Exception as error:  # whatever the bytes lead torch to
        raise _unreadable(place, f"a file that cannot be read ({type(error).__name__})") from error


def _unreadable(place: str, found: str) -> StateError:
    return StateError(
        place,
        expected="a whole checkpoint",
        found=found,
        remedy=f"Remove it to go on from the one before. {FRESH}",
    )
