"""The search section: between which values a search for better settings of training looks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.fitting import Fitting

Number = int | float


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Section):
    """All values between two, both included."""

    min: Number
    max: Number

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.min >= self.max:
            raise ValueError("min below max")
        return self

    @property
    def ends(self) -> list[Number | str]:
        """The values that a field must take for it to take them all."""
        return [self.min, self.max]


class Choices(_Section):
    """A few values."""

    choices: Annotated[list[Number | str], Field(min_length=1)]

    @property
    def ends(self) -> list[Number | str]:
        """The values that a field must take for it to take them all."""
        return self.choices


Values = Range | Choices

SPACE: dict[str, Values] = {
    "epochs": Range(min=1, max=4),
    "batch_size": Choices(choices=[16, 32, 64]),
    "encoder_learning_rate": Range(min=1e-5, max=3e-4),
    "head_learning_rate": Range(min=1e-4, max=1e-2),
    "warmup_share": Range(min=0.0, max=0.2),
    "weight_decay": Range(min=1e-3, max=1e-1),
    "feature_dropout": Range(min=0.0, max=0.5),
}
"""What is searched where a task names no field."""
LOGARITHMIC = frozenset({"encoder_learning_rate", "head_learning_rate", "weight_decay"})
"""Fields of which a factor, not a difference, matters: their ranges are drawn from so."""
WHOLE = frozenset({"epochs", "batch_size", "max_length"})
"""Fields that hold whole numbers."""


class Search(_Section):
    """What is tried, and what it is judged by. What a field is not given for stays as it is."""

    objective: Literal["loss", "accuracy", "macro_f1"] = "loss"
    """Of the rows held back for validation; the loss is least, the others greatest."""
    pruner: Literal["median", "none"] = "median"
    """``median``: a trial that after an epoch is worse than most were is given up."""
    max_length: Values | None = None
    epochs: Values | None = None
    batch_size: Values | None = None
    encoder_learning_rate: Values | None = None
    head_learning_rate: Values | None = None
    layer_decay: Values | None = None
    warmup_share: Values | None = None
    weight_decay: Values | None = None
    max_gradient_norm: Values | None = None
    feature_dropout: Values | None = None
    class_weights: Choices | None = None

    @model_validator(mode="before")
    @classmethod
    def _knows_its_fields(cls, given: Any) -> Any:
        unknown = sorted(set(given) - set(cls.model_fields)) if isinstance(given, dict) else []
        if unknown:
            known = ", ".join(sorted(set(cls.model_fields) - {"objective", "pruner"}))
            raise ValueError(
                f"objective, pruner, or a field of training that can be searched ({known}),"
                f" unlike {unknown[0]!r}"
            )
        return given

    @model_validator(mode="after")
    def _values_are_allowed(self) -> Self:
        for name, values in self.space.items():
            if name in WHOLE and any(not isinstance(end, int) for end in values.ends):
                raise ValueError(f"whole numbers in {name}")
            if name in LOGARITHMIC and isinstance(values, Range) and values.min <= 0:
                raise ValueError(f"a min above 0 in {name}, which is drawn by its logarithm")
            for end in values.ends:
                try:
                    Fitting.model_validate({name: end})
                except ValidationError:
                    raise ValueError(
                        f"values in {name} that training.{name} can have, unlike {end!r}"
                    ) from None
        return self

    @property
    def space(self) -> dict[str, Values]:
        """What is searched, by field; a space of all-round use if no field is named."""
        named = {
            name: values
            for name in type(self).model_fields
            if isinstance(values := getattr(self, name), Range | Choices)
        }
        return named or SPACE
