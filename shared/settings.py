"""Settings from the environment: read once, at the edge, and refused when they make no sense."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from shared.errors import SettingsError
from shared.validation import first_error

PREFIX = "FTI_"
_PATH = re.compile(r"[A-Za-z0-9._/-]+")
SERVICE_PREFIXES = ("FTI_FEATURES_", "FTI_TRAINING_", "FTI_INFERENCE_")
"""Variables of one service; the others leave them alone."""


class Settings(BaseModel):
    """What every service needs to know. The field ``home`` is read from ``FTI_HOME``, and so on."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    home: Path = Path(".fti")
    """The folder that holds all state of the embedded mode."""
    task: Path = Path("tasks/brand_mentions.toml")
    log_format: Literal["auto", "json", "human"] = "auto"
    """``auto``: for people on a terminal, JSON lines elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("home", mode="before")
    @classmethod
    def _usable(cls, home: object) -> Path:
        """Return the home as an absolute path of a folder that is there or can be made."""
        if not str(home).strip():
            raise ValueError("a folder")
        path = Path(str(home)).absolute()
        if not _PATH.fullmatch(str(path)):
            raise ValueError("a path of letters, digits, '.', '_' and '-': Delta reads no others")
        there = next(part for part in (path, *path.parents) if part.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise ValueError("a folder that can be written")
        return path


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Return the settings of a service.

    Args:
        kind: the service's own settings class; its field ``x`` is read from ``FTI_X``.
        environment: what to read instead of the process's environment.

    Raises:
        SettingsError: a variable that starts with FTI_ is unknown, or a value is of no use.
    """
    environment = os.environ if environment is None else environment
    known = {PREFIX + field.upper() for field in kind.model_fields}
    own_prefixes = {name.rsplit("_", 1)[0] for name in known} & {
        prefix.rstrip("_") for prefix in SERVICE_PREFIXES
    }
    values = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        if name in known:
            values[name.removeprefix(PREFIX).lower()] = value
            continue
        service = next((p.rstrip("_") for p in SERVICE_PREFIXES if name.startswith(p)), None)
        if service is None or service in own_prefixes:
            close = difflib.get_close_matches(name, known, n=1)
            raise SettingsError(
                f"environment variable {name}",
                expected=f"one of {', '.join(sorted(known))}",
                found="an unknown name",
                remedy=f"Did you mean {close[0]}?" if close else "Unset it.",
            )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise SettingsError(
            f"environment variable {PREFIX}{field.upper()}", expected=expected, found=found
        ) from error
