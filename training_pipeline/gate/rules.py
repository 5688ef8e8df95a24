"""The rules: each holds one measurement against the task's gate.

Comparisons are written so that a measurement that is not a number holds no rule.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shared.task import Gate
from training_pipeline.evaluation.behaviour import pass_rate
from training_pipeline.evaluation.behaviour_file import Kind
from training_pipeline.evaluation.comparison import Uncompared
from training_pipeline.evaluation.evaluation import Evaluation, FileEvaluation
from training_pipeline.evaluation.parity import Parity
from training_pipeline.evaluation.scores import Labels
from training_pipeline.gate.verdict import MAX_ROWS, FailedRow, Failure, Skipped, Verdict, cut
from training_pipeline.onnx_model import FULL_PRECISION, INT8
from training_pipeline.rows import Indices

_KINDS: dict[Kind, str] = {
    "mft": "minimum functionality",
    "inv": "invariance",
    "dir": "directional expectation",
}


def judge(gate: Gate, evaluation: Evaluation) -> Verdict:
    """Hold an evaluation against the rules of the task's gate."""
    failures = [
        *_quality(gate, evaluation),
        *_onnx(gate, evaluation),
        *_champion(gate, evaluation),
        *_slices(gate, evaluation),
        *_behaviour(gate, evaluation),
        *_cost(gate, evaluation),
    ]
    return Verdict(
        failures=tuple(failures),
        withheld=tuple(_int8(gate, evaluation)),
        skipped=tuple(_skipped(evaluation)),
        headline=evaluation.headline,
    )


def accepts_int8(gate: Gate, measured: Parity) -> bool:
    """Tell whether the int8 file is near enough to torch to serve."""
    return (
        measured.label_agreement >= gate.min_int8_agreement
        and measured.max_logit_difference <= gate.max_int8_logit_difference
    )


def _quality(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    """Yield failures of accuracy, of each file that may serve."""
    baseline = evaluation.linear.accuracy
    for variant, file in evaluation.serving.items():
        accuracy = file.scores.accuracy
        gain = accuracy - baseline
        if not gain > gate.min_gain_over_baseline:
            yield Failure(
                rule="min_gain_over_baseline",
                about=f"gain over baseline ({variant})",
                wanted=f"more than {gate.min_gain_over_baseline:.4f}",
                got=f"{gain:.4f} ({accuracy:.4f} against {baseline:.4f})",
                rows=_mistakes(evaluation, file.predicted),
            )
        if gate.min_accuracy is not None and not accuracy >= gate.min_accuracy:
            yield Failure(
                rule="min_accuracy",
                about=f"accuracy ({variant})",
                wanted=f"at least {gate.min_accuracy:.4f}",
                got=f"{accuracy:.4f} ({file.scores.accuracy_interval})",
                rows=_mistakes(evaluation, file.predicted),
            )


def _onnx(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    file = evaluation.files[FULL_PRECISION]
    if not file.parity.label_agreement >= gate.min_onnx_agreement:
        yield Failure(
            rule="min_onnx_agreement",
            about="agreement of ONNX with torch",
            wanted=f"at least {gate.min_onnx_agreement:.4f}",
            got=f"{file.parity.label_agreement:.4f} on {file.parity.rows} rows",
            rows=_differing(evaluation, file),
        )


def _int8(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    file = evaluation.files.get(INT8)
    if file is None:
        return
    measured = file.parity
    if not measured.label_agreement >= gate.min_int8_agreement:
        yield Failure(
            rule="min_int8_agreement",
            about="agreement of int8 with torch",
            wanted=f"at least {gate.min_int8_agreement:.4f}",
            got=f"{measured.label_agreement:.4f} on {measured.rows} rows",
            rows=_differing(evaluation, file),
        )
    if not measured.max_logit_difference <= gate.max_int8_logit_difference:
        yield Failure(
            rule="max_int8_logit_difference",
            about="largest difference of a logit of int8 from torch's",
            wanted=f"at most {gate.max_int8_logit_difference:.4f}",
            got=f"{measured.max_logit_difference:.4f} on {measured.rows} rows",
            rows=_differing(evaluation, file),
        )


def _champion(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    found = evaluation.comparison
    if isinstance(found, Uncompared):
        return
    if not found.interval.low > -gate.max_champion_loss:
        yield Failure(
            rule="max_champion_loss",
            about=f"accuracy against champion {found.champion}",
            wanted=f"surely above -{gate.max_champion_loss:.4f}",
            got=(
                f"{found.difference:.4f} ({found.interval}; {found.accuracy:.4f} against "
                f"{found.champion_accuracy:.4f}, McNemar's p {found.p_value:.3g})"
            ),
            rows=_examples(evaluation, found.lost, evaluation.served.predicted),
        )


def _skipped(evaluation: Evaluation) -> Iterator[Skipped]:
    if isinstance(evaluation.comparison, Uncompared):
        yield Skipped(rule="max_champion_loss", reason=evaluation.comparison.reason)
    measured = {one.label for one in evaluation.linear.per_label}
    for label in evaluation.labels:
        if label not in measured:
            yield Skipped(
                rule=f"every rule about label {label}",
                reason="no held-out text has it; load newer texts of it, or raise"
                " training.holdout_share",
            )
    if evaluation.untested:
        yield Skipped(
            rule="behaviour",
            reason=f"the task lacks the labels of {', '.join(map(repr, evaluation.untested))}",
        )


def _slices(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    least, predicted = gate.min_slice_accuracy, evaluation.served.predicted
    for one in evaluation.slices if least is not None else ():
        if least is not None and not one.interval.high >= least:
            wrong = one.positions[
                predicted[one.positions] != evaluation.holdout.labels[one.positions]
            ]
            yield Failure(
                rule="min_slice_accuracy",
                about=f"accuracy where {one.dimension} is {one.value!r}",
                wanted=f"possibly {least:.4f}",
                got=f"{one.accuracy:.4f} ({one.interval}) on {one.rows} rows",
                rows=_examples(evaluation, wrong, predicted),
            )


def _behaviour(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    for kind, words in _KINDS.items():
        rule = f"min_{kind}_pass_rate"
        least: float | None = getattr(gate, rule)
        if least is None:
            continue
        rate = pass_rate(evaluation.behaviour, kind)
        if rate is not None and rate >= least:
            continue
        yield Failure(
            rule=rule,
            about=f"behavioural tests of {words}",
            wanted=f"at least {least:.4f} of the cases passed",
            got="no such test" if rate is None else f"{rate:.4f}",
            rows=_broken_cases(evaluation, kind),
        )


def _cost(gate: Gate, evaluation: Evaluation) -> Iterator[Failure]:
    measured = evaluation.speed
    if gate.max_p95_ms is not None and not measured.p95_ms <= gate.max_p95_ms:
        yield Failure(
            rule="max_p95_ms",
            about=f"95th percentile of latency, one text at a time ({evaluation.headline})",
            wanted=f"at most {gate.max_p95_ms:g} ms",
            got=f"{measured.p95_ms:.2f} ms",
            rows=_longest(evaluation),
        )
    if gate.max_size_mb is not None and not measured.size_mb <= gate.max_size_mb:
        yield Failure(
            rule="max_size_mb",
            about=f"size of the file ({evaluation.headline})",
            wanted=f"at most {gate.max_size_mb:g} MB",
            got=f"{measured.size_mb:.1f} MB",
        )


def _mistakes(evaluation: Evaluation, predicted: Labels) -> tuple[FailedRow, ...]:
    return _examples(evaluation, np.flatnonzero(predicted != evaluation.holdout.labels), predicted)


def _differing(evaluation: Evaluation, file: FileEvaluation) -> tuple[FailedRow, ...]:
    """Return rows to which a file gives another label than torch, whose label is wanted."""
    found = file.parity
    return tuple(
        _row(evaluation, file.parity_from + int(position), int(wanted), int(got))
        for position, wanted, got in zip(
            found.differing[:MAX_ROWS], found.wanted, found.got, strict=False
        )
    )


def _longest(evaluation: Evaluation) -> tuple[FailedRow, ...]:
    """Return the longest texts: what is slow is mostly long."""
    longest = np.argsort(-evaluation.tokens, kind="stable")
    return _examples(evaluation, longest, evaluation.served.predicted)


def _broken_cases(evaluation: Evaluation, kind: Kind) -> tuple[FailedRow, ...]:
    """Return broken cases, of each test in turn, so that no test hides the others."""
    tests = [one for one in evaluation.behaviour if one.kind == kind]
    rows = [
        (turn, FailedRow(mention_id=one.name, text=cut(b.text), wanted=b.wanted, got=b.got))
        for one in tests
        for turn, b in enumerate(one.broken[:MAX_ROWS])
    ]
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0])[:MAX_ROWS])


def _examples(
    evaluation: Evaluation, positions: Indices, predicted: Labels
) -> tuple[FailedRow, ...]:
    """Return the first MAX_ROWS of these held-out rows, with true and predicted labels."""
    true = evaluation.holdout.labels
    return tuple(
        _row(evaluation, int(i), int(true[i]), int(predicted[i])) for i in positions[:MAX_ROWS]
    )


def _row(evaluation: Evaluation, position: int, wanted: int, got: int) -> FailedRow:
    return FailedRow(
        mention_id=str(evaluation.holdout.mention_ids[position]),
        text=cut(str(evaluation.holdout.texts[position])),
        wanted=evaluation.labels[wanted],
        got=evaluation.labels[got],
    )
