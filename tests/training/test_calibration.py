from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.training.sample import MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import load_tokenizer
from training_pipeline.fit import build_model, fit
from training_pipeline.fit.calibration import apply_temperature, calibrate, calibration_error
from training_pipeline.progress import Silent

pytestmark = pytest.mark.usefixtures("one_core")


def drawn(rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return logits [rows, 3] and labels [rows] drawn from exactly their probabilities."""
    random = np.random.default_rng(3)
    logits = random.normal(size=(rows, 3)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    below = probabilities.cumsum(axis=1) < random.random((rows, 1))
    return logits, below.sum(axis=1)


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(overconfidence: float) -> None:
    """Logits that are so many times too large get this temperature, and err less after."""
    logits, labels = drawn(20_000)
    found = calibrate(logits * overconfidence, labels)
    assert found is not None
    assert found.temperature == pytest.approx(overconfidence, rel=0.05)
    assert found.error_after < 0.02
    assert overconfidence == 1.0 or found.error_before > 2 * found.error_after


def test_the_error_is_the_gap_between_confidence_and_truth() -> None:
    """Sure of everything and right on three in four: an error of a quarter."""
    logits = np.tile([100.0, 0.0], (8, 1))
    assert calibration_error(logits, np.array([0, 0, 0, 1] * 2)) == pytest.approx(0.25)


def test_a_few_rows_tell_nothing() -> None:
    """Below a hundred rows, or with logits that are no numbers, nothing is calibrated."""
    logits, labels = drawn(200)
    assert calibrate(logits[:99], labels[:99]) is None
    logits[5, 0] = np.nan
    assert calibrate(logits, labels) is None


def test_rows_that_are_all_right_ask_for_a_bounded_temperature() -> None:
    """Labels that are all right would ask for infinite sharpness; they get the bound."""
    found = calibrate(np.tile([1.0, 0.0], (100, 1)), np.zeros(100, dtype=np.int64))
    assert found is not None
    assert found.temperature == pytest.approx(0.1, rel=1e-3)


def test_the_head_divides_the_logits(tiny_encoder: Path) -> None:
    """The temperature is in the head: the model itself gives logits divided by it."""
    task = sample_task(tiny_encoder)
    torch.manual_seed(0)
    model = build_model(np.zeros((2, 2), dtype=np.float32), task, base=tiny_encoder).eval()
    ids = torch.arange(8).reshape(2, 4)
    inputs = (ids, torch.ones_like(ids), torch.ones(2, 2))
    with torch.inference_mode():
        before = model(*inputs)
    apply_temperature(model, 2.5)
    with torch.inference_mode():
        torch.testing.assert_close(model(*inputs), before / 2.5)


def test_a_fit_is_calibrated(tiny_encoder: Path) -> None:
    """With enough rows to validate on, a fit tells its temperature and both errors."""
    fitted = fit(
        sample_rows(300),
        sample_task(tiny_encoder, epochs=2, validation_share=0.4),
        base=tiny_encoder,
        tokenizer=load_tokenizer(tiny_encoder, MAX_LENGTH),
        progress=Silent(),
    )
    assert fitted.calibration is not None
    assert fitted.calibration.rows == 120
    assert set(fitted.metrics) == {
        "temperature",
        "validation_calibration_error_before",
        "validation_calibration_error",
    }
