"""Settings of the training pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from shared.redis_address import check_redis_address
from shared.settings import NeverShown, Seconds, Settings
from shared.sql_address import check_sql_address

_QUEUES = r"^[a-z][a-z0-9_-]{0,31}(,[a-z][a-z0-9_-]{0,31})*$"


class TrainingSettings(Settings):
    """What the training pipeline reads from the environment, such as ``FTI_TRAINING_PORT``."""

    training_host: str = "127.0.0.1"
    training_port: Annotated[int, Field(ge=1, le=65_535)] = 8002
    training_checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    """How often a fit saves what it has learned; 0: after each step."""
    training_checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Save after each so many steps, too."""

    training_allow_dirty: bool = False
    """Register from code that differs from its commit; the difference is kept with the version."""
    training_commit: Annotated[str, Field(pattern=r"^([0-9a-f]{7,64})?$")] = ""
    """The commit of the code, where it is in no clone of git: an image sets it when it is built."""
    training_keep_unfinished_days: Annotated[float, Field(ge=0)] = 7.0
    """How old a registry's run without a version must be for ``clean-registry`` to delete it."""
    training_tokens_file: Path | None = None
    """Who may ask for what; see `shared.tokens`. Without it anybody may, from this machine."""
    training_open: bool = False
    """Without tokens, anybody may ask from other machines too: something in front guards it."""
    training_listeners: Annotated[int, Field(ge=1)] = 64
    """Readers of event streams at a time."""
    training_runs: Annotated[SecretStr, NeverShown] = SecretStr("")
    """Where requested runs are kept: ``postgresql+psycopg://…``; by default SQLite in the home."""
    training_broker: Annotated[SecretStr, NeverShown] = SecretStr("")
    """What tells workers of runs: ``redis://…``; by default files in the home."""
    training_queues: Annotated[str, Field(pattern=_QUEUES)] = "default"
    """Queues that a worker takes runs from, separated by commas."""
    training_warm: bool = True
    """A worker keeps a spare process that has imported everything; it takes some 640 MB."""
    training_processes: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, such as one for each GPU of the machine."""
    training_lease_seconds: Annotated[float, Field(ge=2, le=3_600)] = 30.0
    """Without a sign of life for so long, a worker has lost its run to another one."""
    training_alive_file: Path | None = None
    """Workers and beat touch it while they get on, for health checks that look at its age."""
    training_grace_seconds: Seconds = 15.0
    """How long a training process may save what it learned before it is killed, and how long the
    next process of the same run waits for its end."""
    training_keep_days: Annotated[float, Field(gt=0)] = 30.0
    """How long logs and events of runs stay after their end."""

    @field_validator("training_runs")
    @classmethod
    def _database(cls, address: SecretStr) -> SecretStr:
        if address.get_secret_value():
            check_sql_address(address.get_secret_value())
        return address

    @field_validator("training_broker")
    @classmethod
    def _redis_broker(cls, address: SecretStr) -> SecretStr:
        if address.get_secret_value():
            check_redis_address(address.get_secret_value())
        return address

    @property
    def runs_address(self) -> str:
        """The database of requested runs."""
        given = self.training_runs.get_secret_value()
        return given or f"sqlite:///{self.training_home / 'runs.db'}"

    @property
    def training_home(self) -> Path:
        """The folder of requested runs, their checkpoints, logs and files in the making."""
        return self.home / "training"
