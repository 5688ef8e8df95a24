"""The measurements: an evaluation as named figures, for the run and the manifest."""

from __future__ import annotations

from training_pipeline.evaluation.behaviour import pass_rate
from training_pipeline.evaluation.behaviour_file import KINDS
from training_pipeline.evaluation.comparison import Comparison
from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.evaluation.scores import Scores
from training_pipeline.onnx_model import FULL_PRECISION


def measurements(evaluation: Evaluation) -> dict[str, float]:
    """Return what was measured on held-out rows, by the name it is logged under.

    Names without a variant belong to the file that will serve; ``onnx`` is the one in full
    precision.
    """
    figures = {
        **_scores("", evaluation.served.scores),
        **_scores("baseline_", evaluation.linear),
        "calibration_error": evaluation.reliability.error,
        "p50_ms": evaluation.speed.p50_ms,
        "p95_ms": evaluation.speed.p95_ms,
        "tokens_per_second": evaluation.speed.tokens_per_second,
        "size_mb": evaluation.speed.size_mb,
    }
    for variant, file in evaluation.files.items():
        name = "onnx" if variant == FULL_PRECISION else variant
        figures[f"{variant}_accuracy"] = file.scores.accuracy
        figures[f"{name}_agreement"] = file.parity.label_agreement
        figures[f"{name}_max_logit_difference"] = file.parity.max_logit_difference
    if isinstance(evaluation.comparison, Comparison):
        figures["champion_accuracy"] = evaluation.comparison.champion_accuracy
        figures["champion_difference"] = evaluation.comparison.difference
        figures["champion_difference_low"] = evaluation.comparison.interval.low
    for kind in KINDS:
        rate = pass_rate(evaluation.behaviour, kind)
        if rate is not None:
            figures[f"behaviour_{kind}"] = rate
    return figures


def _scores(prefix: str, scores: Scores) -> dict[str, float]:
    return {
        f"{prefix}accuracy": scores.accuracy,
        f"{prefix}macro_f1": scores.macro_f1,
        **{f"{prefix}recall_{one.label}": one.recall for one in scores.per_label},
        **{f"{prefix}precision_{one.label}": one.precision for one in scores.per_label},
    }
