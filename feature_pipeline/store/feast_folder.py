"""A folder that Feast's own tools take for a feature repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from shared.errors import StateError
from shared.feature_store import feast_configuration
from shared.places import Places, sqlite_path

REGISTRY_VARIABLE = "FTI_FEATURE_REGISTRY"
PASSWORD_VARIABLE = "FEAST_ONLINE_STORE_PASSWORD"  # noqa: S105 - a name, no password
_PLACEHOLDER = "password-comes-from-the-environment"
_FIRST_LINE = "# Written by `python -m feature_pipeline feast-repository`; changes are lost.\n"
_DEFINITIONS = '''\
"""What `feast plan` compares the registry with: the definitions of the task.

Without this file Feast would take the repository for empty, and `feast apply` would delete all.
"""

from pathlib import Path

from feature_pipeline.store.feature_repository import definitions
from feature_pipeline.store.offline_tables import OfflineTables
from shared.task import load_task

_task = load_task(Path({task!r}))
_found = definitions(_task, OfflineTables({offline_store!r}))
# Feast takes what a module names.
globals().update((f"{{type(one).__name__}}_{{one.name}}", one) for one in _found)
'''


def write_feast_folder(folder: Path, task: Path, places: Places) -> tuple[str, ...]:
    """Write a folder on which Feast's command line and its UI work.

    Passwords are left out: Feast reads them from variables when it reads the file.

    Args:
        folder: it is made; what an earlier call wrote there is replaced.
        task: the task file, whose definitions the folder names.
        places: where the feature store's parts are.

    Returns:
        The names of the variables that Feast needs.

    Raises:
        StateError: the folder holds another feature repository.
    """
    path = folder / "feature_store.yaml"
    if path.exists() and not path.read_text(encoding="utf-8").startswith(_FIRST_LINE):
        raise StateError(
            f"folder {folder}",
            expected="no feature repository of somebody else",
            found="a feature_store.yaml that was not written here",
            remedy="Name another folder with --output.",
        )
    shown, variables = _without_secrets(places)
    text = yaml.safe_dump(feast_configuration(shown), sort_keys=False, width=1_000)
    text = text.replace(_PLACEHOLDER, f"${{{PASSWORD_VARIABLE}}}")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(_FIRST_LINE + text, encoding="utf-8")
    (folder / "task_definitions.py").write_text(
        _DEFINITIONS.format(task=str(task.absolute()), offline_store=places.offline_store),
        encoding="utf-8",
    )
    return variables


def _without_secrets(places: Places) -> tuple[Places, tuple[str, ...]]:
    """Return the places with variables instead of secrets, and the variables' names."""
    variables = []
    password = urlsplit(places.online_store).password
    if password:
        variables.append(PASSWORD_VARIABLE)
        address = places.online_store.replace(f":{password}@", f":{_PLACEHOLDER}@", 1)
        places = replace(places, online_store=address)
    if sqlite_path(places.feature_registry) is None:
        variables.append(REGISTRY_VARIABLE)
        places = replace(places, feature_registry=f"${{{REGISTRY_VARIABLE}}}")
    return places, tuple(variables)
