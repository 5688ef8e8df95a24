"""What keeps a model from being followed, in words for people."""

from __future__ import annotations

import errno
import os

from inference_pipeline.versions.registry import RegistryUnreachableError
from shared.errors import FtiError, StateError
from shared.feature_store import FeatureRegistryError
from shared.manifest import CHAMPION

_OF_THIS_MACHINE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EROFS,
}
"""What the operating system says of files, and not of a registry."""


def not_looked_yet(name: str) -> StateError:
    """Return what is so until the first look has ended, the checks of what it finds included."""
    return StateError(
        f"model {name}",
        expected="a first look at the registry that has ended",
        found="one that is under way",
    )


def stale_registry(name: str, error: Exception) -> StateError:
    """Return what is so while the registry does not answer."""
    found = error.found if isinstance(error, FtiError) else type(error).__name__
    return StateError(
        f"model {name}, stale registry",
        expected="an answer of the model registry",
        found=found,
        remedy="Versions stay as they were last known; it is asked again. The log tells more.",
    )


def incomplete_look(name: str, error: Exception) -> FtiError:
    """Return what is so when a look at the registry and the feature store broke off."""
    if isinstance(error, RegistryUnreachableError | FeatureRegistryError):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
        return StateError(
            f"model {name}, its versions on this machine's disk",
            expected="files that can be read and written",
            found=os.strerror(error.errno),
            remedy="What serves goes on. Make room, or mend the folder; it is tried again.",
        )
    return StateError(
        f"model {name}",
        expected="a complete look at the model registry and the feature store",
        found=type(error).__name__,
        remedy="It is tried again; the log tells more.",
    )


def nothing_registered(name: str) -> StateError:
    """Return what is so without a champion in the registry."""
    return StateError(
        f"model {name}",
        expected=f"a registered version with the alias {CHAMPION}",
        found="none",
        remedy="Check the model's name, or run `python -m training_pipeline train`.",
    )
