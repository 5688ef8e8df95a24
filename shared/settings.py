"""Settings from the environment: read once, at the edge, and refused when they make no sense."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from shared.errors import SettingsError
from shared.places import Places
from shared.redis_address import check_redis_address
from shared.sql_address import check_sql_address
from shared.validation import first_error

PREFIX = "FTI_"
_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._-]+)*/?")
_SERVER = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/-]*)?")
SERVICE_PREFIXES = ("FTI_FEATURES_", "FTI_TRAINING_", "FTI_INFERENCE_")
"""Variables of one service; the others leave them alone."""

Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
"""A duration; at most a year, which threads and timers can still wait for."""


class NeverShown:
    """Marks a setting of which an error shows nothing: a mistyped address may hold a password."""


class Settings(BaseModel):
    """What every service needs to know. The field ``home`` is read from ``FTI_HOME``, and so on."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    home: Path = Path(".fti")
    """The folder that holds all state of the embedded mode, and always what is a service's own."""
    online_store: Annotated[SecretStr, NeverShown] = SecretStr("")
    """Of Feast: ``redis://`` or, with TLS, ``rediss://``; by default SQLite under the home."""
    feature_registry: Annotated[SecretStr, NeverShown] = SecretStr("")
    """Of Feast: an SQL database as SQLAlchemy takes it; by default SQLite under the home. Another
    driver must be installed: ``pip install "psycopg[binary]"`` for ``postgresql+psycopg://``."""
    offline_store: Annotated[str, NeverShown] = ""
    """Of Feast: a folder or ``s3://bucket/…``; by default a folder under the home."""
    mlflow_uri: Annotated[str, NeverShown] = ""
    """Of an MLflow server; by default MLflow runs inside, on SQLite under the home."""
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

    @field_validator("online_store")
    @classmethod
    def _redis(cls, address: SecretStr) -> SecretStr:
        if address.get_secret_value():
            check_redis_address(address.get_secret_value())
        return address

    @field_validator("feature_registry")
    @classmethod
    def _database(cls, address: SecretStr) -> SecretStr:
        if address.get_secret_value():
            check_sql_address(address.get_secret_value())
        return address

    @field_validator("offline_store")
    @classmethod
    def _folder_or_bucket(cls, address: str) -> str:
        """Return the address, that of a folder as an absolute path."""
        if not address or _BUCKET.fullmatch(address):
            return address.rstrip("/")
        path = str(Path(address).absolute())
        if not _PATH.fullmatch(path):
            raise ValueError("a folder or s3://bucket/path, of letters, digits, '.', '_' and '-'")
        return path

    @field_validator("mlflow_uri")
    @classmethod
    def _server(cls, address: str) -> str:
        if address and not _SERVER.fullmatch(address):
            raise ValueError(
                "an address such as http://host:5000; MLFLOW_TRACKING_USERNAME and"
                " MLFLOW_TRACKING_PASSWORD hold what is secret"
            )
        return address

    @property
    def places(self) -> Places:
        """Where the services meet: under the home, but for what is set."""
        embedded = Places.embedded(self.home)
        return Places(
            online_store=self.online_store.get_secret_value() or embedded.online_store,
            feature_registry=self.feature_registry.get_secret_value() or embedded.feature_registry,
            offline_store=self.offline_store or embedded.offline_store,
            mlflow=self.mlflow_uri or embedded.mlflow,
            mlflow_artifacts=None if self.mlflow_uri else embedded.mlflow_artifacts,
        )


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
        hidden = NeverShown in kind.model_fields[field].metadata
        raise SettingsError(
            f"environment variable {PREFIX}{field.upper()}",
            expected=expected,
            found="another value, which is not shown" if hidden else found,
        ) from (None if hidden else error)
