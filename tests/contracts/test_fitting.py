from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.fitting import PRESETS, Fitting
from shared.task import Training


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_defaults_that_fields_override(preset: str) -> None:
    """Each preset holds known fields alone; what a file gives stands, the rest is the preset's."""
    plain = Training.model_validate({"base": "x", "preset": preset})
    for name, value in PRESETS[preset].items():
        assert getattr(plain, name) == value
    own = Training.model_validate({"base": "x", "preset": preset, "epochs": 9, "max_length": 16})
    assert (own.epochs, own.max_length, own.patience) == (9, 16, plain.patience)
    assert own.base == "x"


def test_small_is_the_default() -> None:
    """Without a preset a section is that of the preset small, which has the fields' defaults."""
    assert Fitting() == Fitting(preset="small")


def test_a_resolved_section_reads_as_itself() -> None:
    """What a version records, every default included, gives the same section again."""
    full = Training(base="x", preset="full")
    assert Training.model_validate(full.model_dump(mode="json")) == full


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"preset": "large"}, "'tiny', 'small' or 'full'"),
        ({"preset": 3}, "'tiny', 'small' or 'full'"),
        ({"patience": 1, "validation_share": 0.0}, "validation_share above 0"),
        ({"evaluate_steps": 5}, "patience with evaluate_steps"),
        ({"epoch": 5}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, object], words: str) -> None:
    """Unknown presets and fields, and fields that contradict each other, are told."""
    with pytest.raises(ValidationError, match=words):
        Fitting.model_validate(fields)
