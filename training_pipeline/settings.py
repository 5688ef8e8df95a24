"""Settings of the training pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.settings import Settings


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
    """How old a registry's run that never ended must be for ``clean-registry`` to delete it."""

    @property
    def training_home(self) -> Path:
        """The folder of requested runs, their logs and files in the making."""
        return self.home / "training"
