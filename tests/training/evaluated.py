"""Evaluations made up from labels, as the gate and the report read them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from tests.training.sample import LABELS, sample_rows
from training_pipeline.evaluation.behaviour import Broken, Outcome
from training_pipeline.evaluation.comparison import Uncompared, compare_with_champion
from training_pipeline.evaluation.evaluation import Evaluation, FileEvaluation
from training_pipeline.evaluation.parity import compare
from training_pipeline.evaluation.reliability import reliability, softmax
from training_pipeline.evaluation.scores import Labels, score
from training_pipeline.evaluation.slices import slices
from training_pipeline.evaluation.speed import Speed
from training_pipeline.onnx_model import Logits, OnnxModel
from training_pipeline.rows import Rows

ROWS = 200
SPEED = Speed(p50_ms=2.0, p95_ms=5.0, tokens_per_second=10_000.0, size_mb=23.0)
BEHAVIOUR = (
    Outcome(
        name="negated praise",
        kind="mft",
        aspect="negation",
        cases=4,
        broken=(Broken("not great", wanted="negative", got="positive"),),
    ),
    Outcome(name="typos", kind="inv", aspect="typos", cases=2, broken=()),
)


def logits_of(labels: Labels) -> Logits:
    """Return logits [rows, 2] that choose these labels."""
    return np.where(np.eye(2)[labels] > 0, 2.0, -2.0).astype(np.float32)


def flipped(labels: Labels, positions: npt.ArrayLike) -> Labels:
    """Return labels of which those at some positions are the other one."""
    changed = labels.copy()
    changed[np.asarray(positions, dtype=np.int64)] ^= 1
    return changed


def file_evaluation(rows: Rows, predicted: Labels, torch_labels: Labels) -> FileEvaluation:
    """Return what is measured of a file that gives some labels where torch gives others."""
    logits = logits_of(predicted)
    return FileEvaluation(
        exported=cast("OnnxModel", None),  # nobody asks it
        logits=logits,
        scores=score(predicted, rows.labels, LABELS),
        parity=compare(logits, logits_of(torch_labels)),
        parity_from=0,
    )


def evaluated(
    *,
    wrong: int = 20,
    baseline_wrong: int = 60,
    fp32_astray: int = 0,
    int8_astray: int = 0,
    champion_wrong: int | None = None,
    behaviour: tuple[Outcome, ...] = BEHAVIOUR,
    speed: Speed = SPEED,
) -> Evaluation:
    """Return an evaluation on ROWS rows.

    Args:
        wrong: the model mistakes the first so many rows.
        baseline_wrong: so does the baseline.
        fp32_astray: on the first so many rows torch gives another label than the fp32 file.
        int8_astray: on the last so many rows it gives another than the int8 file, which serves.
        champion_wrong: the champion mistakes the last so many rows; None: there is none.
        behaviour: how behavioural tests came out.
        speed: of the file that serves.
    """
    rows = sample_rows(ROWS)
    predicted = flipped(rows.labels, np.arange(wrong))
    torch_labels = flipped(predicted, np.arange(fp32_astray))
    small = flipped(torch_labels, ROWS - 1 - np.arange(int8_astray))
    files = {
        "fp32": file_evaluation(rows, predicted, torch_labels),
        "int8": file_evaluation(rows, small, torch_labels),
    }
    right = small == rows.labels
    tokens = np.array([len(text.split()) for text in rows.texts])
    without = Uncompared("there is no champion yet")
    return Evaluation(
        labels=LABELS,
        holdout=rows,
        tokens=tokens,
        linear=score(flipped(rows.labels, np.arange(baseline_wrong)), rows.labels, LABELS),
        files=files,
        headline="int8",
        reliability=reliability(softmax(files["int8"].logits), rows.labels),
        slices=slices(rows, right, tokens, min_rows=30),
        comparison=without
        if champion_wrong is None
        else compare_with_champion(
            right, np.arange(ROWS) < ROWS - champion_wrong, champion="3", seed=0
        ),
        behaviour=behaviour,
        untested=(),
        speed=speed,
    )


def with_text(evaluation: Evaluation, text: str) -> Evaluation:
    """Return an evaluation whose held-out rows all read the same."""
    rows = evaluation.holdout
    texts = np.full(len(rows), text, dtype=object)
    return replace(evaluation, holdout=replace(rows, texts=texts))
