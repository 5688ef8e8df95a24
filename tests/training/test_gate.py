from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.task import Gate
from tests.training.evaluated import ROWS, SPEED, evaluated, with_text
from tests.training.sample import LABELS
from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.gate.rules import accepts_int8, judge
from training_pipeline.gate.verdict import MAX_CHARACTERS, MAX_ROWS, Verdict
from training_pipeline.onnx_model import INT8


def broken_rules(verdict: Verdict) -> list[str]:
    """Return the names of the failed rules, each once."""
    return list(dict.fromkeys(failure.rule for failure in verdict.failures))


def test_a_good_model_passes() -> None:
    """Rules that a task leaves out fail nothing, and a model that beats the baseline passes."""
    verdict = judge(Gate(), evaluated())
    assert (verdict.passed, verdict.reasons) == (True, ())


@pytest.mark.parametrize(
    ("gate", "evaluation", "reason"),
    [
        (
            Gate(min_gain_over_baseline=0.25),
            evaluated(),
            "gain over baseline (fp32): wanted more than 0.2500, got 0.2000 (0.9000 against 0.70",
        ),
        (
            Gate(min_accuracy=0.95),
            evaluated(),
            "accuracy (fp32): wanted at least 0.9500, got 0.9000 (0.851 to 0.934)",
        ),
        (
            Gate(),
            evaluated(fp32_astray=2),
            "agreement of ONNX with torch: wanted at least 0.9990, got 0.9900 on 200 rows",
        ),
        (
            Gate(),
            evaluated(wrong=50, champion_wrong=20),
            "accuracy against champion 3: wanted surely above -0.0300, got -0.1500 (-0.2",
        ),
        (
            Gate(min_slice_accuracy=0.9),
            evaluated(wrong=50),
            "accuracy where time is 'part 1, from 1970-01-01T00:00': wanted possibly 0.9000, got 0",
        ),
        (
            Gate(min_mft_pass_rate=0.8),
            evaluated(),
            "behavioural tests of minimum functionality: wanted at least 0.8000 of the cases",
        ),
        (
            Gate(max_p95_ms=4),
            evaluated(),
            "95th percentile of latency, one text at a time (int8): wanted at most 4 ms",
        ),
    ],
    ids=["gain", "accuracy", "onnx", "champion", "slice", "behaviour", "latency"],
)
def test_each_rule_can_fail_and_names_rows(gate: Gate, evaluation: Evaluation, reason: str) -> None:
    """A rule that does not hold says what was wanted, what came, and which rows show it."""
    verdict = judge(gate, evaluation)
    assert not verdict.passed
    failure = next(one for one in verdict.failures if str(one).startswith(reason))
    assert 1 <= len(failure.rows) <= MAX_ROWS
    assert all(row.wanted != row.got or failure.rule == "max_p95_ms" for row in failure.rows)


def test_a_file_that_is_too_large() -> None:
    """Size has no rows to name."""
    verdict = judge(Gate(max_size_mb=20), evaluated())
    assert verdict.reasons == ("size of the file (int8): wanted at most 20 MB, got 23.0 MB",)


def test_rows_are_those_that_show_the_failure() -> None:
    """A row that torch and the file label otherwise is named with both labels."""
    evaluation = evaluated(fp32_astray=1)
    (failure,) = judge(Gate(), evaluation).failures
    (row,) = failure.rows
    true = evaluation.labels[evaluation.holdout.labels[0]]
    # The file mistakes this row, and torch does not.
    assert (row.mention_id, row.wanted) == ("m00000", true)
    assert row.got != true


def test_texts_are_cut() -> None:
    """A verdict shows the beginning of a long text."""
    evaluation = with_text(evaluated(), "late " * 1_000)
    verdict = judge(Gate(min_accuracy=1.0), evaluation)
    assert {len(row.text) for row in verdict.failures[0].rows} == {MAX_CHARACTERS}


@pytest.mark.parametrize(
    ("gate", "rule"),
    [
        (Gate(), "min_int8_agreement"),
        (Gate(min_int8_agreement=0.9), "max_int8_logit_difference"),
    ],
)
def test_an_int8_file_far_from_torch_is_withheld(gate: Gate, rule: str) -> None:
    """It does not fail the model, which serves in full precision; the verdict says why."""
    evaluation = evaluated(int8_astray=2)
    assert not accepts_int8(gate, evaluation.files[INT8].parity)
    verdict = judge(gate, evaluation)
    assert verdict.passed
    assert verdict.withheld[0].rule == rule
    assert {row.mention_id for row in verdict.withheld[0].rows} == {"m00198", "m00199"}
    assert verdict.notes[0].startswith("int8 is withheld: ")


@given(wrong=st.integers(0, ROWS), baseline=st.integers(0, ROWS), gain=st.floats(-0.5, 0.5))
def test_the_gain_must_be_greater(wrong: int, baseline: int, gain: float) -> None:
    """Of both files that may serve, exactly those that do not gain enough are named."""
    evaluation = evaluated(wrong=wrong, baseline_wrong=baseline)
    verdict = judge(Gate(min_gain_over_baseline=gain), evaluation)
    got = evaluation.served.scores.accuracy - evaluation.linear.accuracy
    assert broken_rules(verdict) == ([] if got > gain else ["min_gain_over_baseline"])
    assert len(verdict.failures) == (0 if got > gain else 2)


def test_a_tie_with_the_baseline_fails() -> None:
    """A model no better than the linear one is not worth its cost."""
    verdict = judge(Gate(), evaluated(wrong=20, baseline_wrong=20))
    assert broken_rules(verdict) == ["min_gain_over_baseline"]


def test_not_a_number_passes_no_rule() -> None:
    """A measurement that went wrong cannot let a model through."""
    broken = replace(SPEED, p95_ms=float("nan"), size_mb=float("nan"))
    verdict = judge(Gate(max_p95_ms=1e9, max_size_mb=1e9), evaluated(speed=broken))
    assert broken_rules(verdict) == ["max_p95_ms", "max_size_mb"]


def test_a_comparison_that_was_not_made_is_told() -> None:
    """Without a champion the rule is not applied, and the verdict says so."""
    verdict = judge(Gate(), evaluated())
    assert verdict.notes == ("max_champion_loss was not applied: there is no champion yet",)
    assert judge(Gate(), evaluated(champion_wrong=20)).notes == ()


def test_a_label_that_no_held_out_text_has_is_told() -> None:
    """Nothing was measured about it, which a pass must not hide."""
    evaluation = replace(evaluated(champion_wrong=20), labels=[*LABELS, "neutral"])
    (note,) = judge(Gate(), evaluation).notes
    assert note.startswith(
        "every rule about label neutral was not applied: no held-out text has it; load newer"
    )


def test_a_rate_without_tests_fails() -> None:
    """A rate that is asked of tests that the file does not have is no pass."""
    verdict = judge(Gate(min_dir_pass_rate=0.1), evaluated())
    assert verdict.failures[0].got == "no such test"


def test_a_verdict_is_json() -> None:
    """Passed, failures with their rows, and what was skipped can be read by programs."""
    told = json.loads(json.dumps(judge(Gate(min_accuracy=0.99), evaluated()).as_json()))
    assert told["passed"] is False
    assert told["failures"][0]["rule"] == "min_accuracy"
    assert told["failures"][0]["rows"][0].keys() == {"mention_id", "text", "wanted", "got"}
    assert told["skipped"][0]["rule"] == "max_champion_loss"
