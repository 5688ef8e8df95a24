from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.task import Gate
from training_pipeline.gate import Measured, judge

share = st.floats(0, 1)


@given(accuracy=share, baseline=share, agreement=share, gain=st.floats(-0.5, 0.5), least=share)
def test_one_reason_per_failed_rule(
    accuracy: float, baseline: float, agreement: float, gain: float, least: float
) -> None:
    """A model passes exactly when both rules hold, and each failed one gives one reason."""
    verdict = judge(
        Gate(min_gain_over_baseline=gain, min_onnx_agreement=least),
        Measured(accuracy=accuracy, baseline_accuracy=baseline, onnx_agreement=agreement),
    )
    failed = [accuracy - baseline <= gain, agreement < least]
    assert len(verdict.reasons) == sum(failed)
    assert verdict.passed == (not any(failed))


def test_a_tie_with_the_baseline_fails() -> None:
    """A model no better than the linear one is not worth its cost; the reason gives figures."""
    verdict = judge(Gate(), Measured(accuracy=0.8, baseline_accuracy=0.8, onnx_agreement=1.0))
    assert verdict.reasons == (
        "gain over baseline: wanted more than 0.0000, got 0.0000 (0.8000 against 0.8000)",
    )


def test_not_a_number_passes_no_rule() -> None:
    """A measurement that went wrong cannot let a model through."""
    nan = float("nan")
    verdict = judge(Gate(), Measured(accuracy=nan, baseline_accuracy=0.5, onnx_agreement=nan))
    assert len(verdict.reasons) == 2
