"""The fitting section: how a model learns, and presets for it. Part of a task file's training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "max_length": 32,
        "max_texts": 2_000,
        "encoder_learning_rate": 1e-4,
    },
    "small": {},
    "full": {
        "max_length": 128,
        "epochs": 5,
        "patience": 2,
        "batch_size": 64,
        "encoder_learning_rate": 3e-5,
        "layer_decay": 0.9,
        "precision": "bf16",
    },
}
"""Defaults of fields of the training section, by preset; ``small`` has those of the fields."""

MOST_TEXTS = 1_000_000_000


class Fitting(BaseModel):
    """How a model learns. A preset gives defaults; a field that is given overrides it.

    Upper bounds are far above what is of use: they catch a slip before it takes a machine for days.
    """

    # Strict: requests come with other fields as JSON, in which true is no number.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    preset: Literal["tiny", "small", "full"] = "small"
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    """Tokens that a text is cut to."""
    max_texts: Annotated[int, Field(ge=1, le=MOST_TEXTS)] | None = None
    """Train on this many of the newest texts; all when not given."""
    validation_share: Annotated[float, Field(ge=0, lt=0.9)] = 0.1
    """Share of these, the newest, that is not learned from: for early stopping and calibration."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    patience: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Stop when so many evaluations in a row brought no lower validation loss, and keep the
    weights that had the lowest; never when not given."""
    evaluate_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """With patience, evaluate each so many steps; after each epoch when not given."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Texts of a step, over all parts and processes."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Parts in which each process computes its share of a batch: more take less memory."""
    encoder_learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-5
    head_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a layer of the encoder as a share of that of the layer above it."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which learning rates rise; then they fall to zero."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    feature_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the texts that are learned from without their features."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced``: each label weighs the same in the loss, however many texts have it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: 16-bit arithmetic where it does no harm; the weights keep 32 bits."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7

    @model_validator(mode="before")
    @classmethod
    def _begin_with_the_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = given.get("preset")
        return {**(PRESETS.get(preset, {}) if isinstance(preset, str) else {}), **given}

    @model_validator(mode="after")
    def _patience_has_something_to_look_at(self) -> Self:
        if self.patience is not None and self.validation_share == 0:
            raise ValueError("validation_share above 0 with patience")
        if self.evaluate_steps is not None and self.patience is None:
            raise ValueError("patience with evaluate_steps, which is about nothing else")
        return self
