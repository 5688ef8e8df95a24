"""Model versions on this machine's disk: their files, and which of them served last."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from inference_pipeline.versions.registry import ModelRegistry, ModelVersion, NamedVersion
from shared.errors import ContractError
from shared.logs import get_logger
from shared.manifest import read_manifest

log = get_logger(__name__)

_LAST_GOOD_FILE = "last_good.json"
_UNFINISHED = ".download-"


class _Remembered(BaseModel):
    """An alias's line in the file of last good versions."""

    model_config = ConfigDict(frozen=True)

    version: str
    created: int
    tags: dict[str, str]


class LocalVersions:
    """Keeps downloaded versions, a folder each, and remembers what each alias last served.

    Several processes may share it: files appear by renaming only.
    """

    def __init__(
        self, registry: ModelRegistry, folder: Path, *, grace: timedelta = timedelta(minutes=10)
    ) -> None:
        """Touch nothing yet.

        Args:
            registry: where versions are downloaded from.
            folder: one folder a model, made when needed.
            grace: a version that was fetched so lately is not pruned: another process may be about
                to load it.
        """
        self._registry = registry
        self._folder = folder
        self._grace = grace

    def fetch(self, version: ModelVersion) -> Path:
        """Return the folder that holds the files of a version, downloading them when needed.

        Raises:
            RegistryUnreachableError: the files cannot be had at the moment.
        """
        folder = self._folder / version.name / _folder_name(version)
        if folder.is_dir():
            os.utime(folder)
            try:
                read_manifest(folder)
            except ContractError:
                # Damaged on this disk, or damaged when it was registered: only a fresh copy tells.
                shutil.rmtree(folder)
            else:
                return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder.parent) as unfinished:
            # Renamed when complete, so that an interrupted download is never taken for a version.
            files = Path(unfinished) / folder.name
            files.mkdir()
            self._registry.download(version, files)
            try:
                files.rename(folder)
            except OSError:
                # Another process was faster, if the folder is there; its files are as good.
                if not folder.is_dir():
                    raise
        return folder

    def prune(self, name: str, keep: Collection[ModelVersion]) -> None:
        """Delete the versions of a model that are not to be kept, and unfinished downloads."""
        wanted = {_folder_name(version) for version in keep}
        newest = time.time() - self._grace.total_seconds()
        model = self._folder / name
        for folder in model.iterdir() if model.is_dir() else ():
            if folder.is_dir() and folder.name not in wanted and folder.stat().st_mtime < newest:
                shutil.rmtree(folder, ignore_errors=True)
                log.info("model_files_pruned", model=name, folder=folder.name)

    def last_good(self, name: str) -> dict[str, NamedVersion]:
        """Return what each alias of a model last served here; nothing where that is not known."""
        path = self._folder / name / _LAST_GOOD_FILE
        if not path.is_file():
            return {}
        try:
            lines = json.loads(path.read_bytes())
            remembered = {alias: _Remembered.model_validate(line) for alias, line in lines.items()}
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            # It serves restarts without a registry only: less is lost than by not starting.
            log.warning("last_good_versions_unreadable", model=name, error=repr(error)[:500])
            return {}
        return {
            alias: NamedVersion(ModelVersion(name, line.version, line.created), line.tags)
            for alias, line in remembered.items()
        }

    def remember(self, name: str, served: Mapping[str, NamedVersion]) -> None:
        """Write down what the aliases of a model serve, whole or not at all.

        Raises:
            OSError: the disk does not take it.
        """
        if served == self.last_good(name):
            return
        lines = {
            alias: _Remembered(
                version=named.version.version,
                created=named.version.created,
                tags=dict(named.tags),
            ).model_dump()
            for alias, named in served.items()
        }
        path = self._folder / name / _LAST_GOOD_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=path.parent) as unfinished:
            written = Path(unfinished) / path.name
            with written.open("w") as file:
                json.dump(lines, file)
                file.flush()
                os.fsync(file.fileno())
            written.replace(path)


def _folder_name(version: ModelVersion) -> str:
    return f"{version.version}-{version.created}"
