"""The evaluation: held-out rows through the exported file, beside the baseline and torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training_pipeline.batches import batches_by_length, pad
from training_pipeline.encoder import TextTokenizer
from training_pipeline.model import MentionClassifier
from training_pipeline.onnx_model import EVALUATION_BATCH, Logits, OnnxModel
from training_pipeline.rows import Rows

MAX_PARITY_ROWS = 512

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """How well labels were predicted; all from 0 to 1."""

    accuracy: float
    macro_f1: float
    recall: dict[str, float]
    """Per label; a label that no held-out row has is left out."""


@dataclass(frozen=True)
class Parity:
    """How far the exported file agrees with torch on the same rows."""

    rows: int
    label_agreement: float
    max_logit_difference: float


def score(predicted: Labels, true: Labels, labels: list[str]) -> Scores:
    """Compare predicted labels with the true ones.

    Args:
        predicted: [rows], positions in ``labels``.
        true: [rows], positions in ``labels``.
        labels: the task's labels.
    """
    from sklearn.metrics import f1_score

    there = np.unique(true)
    return Scores(
        accuracy=float(np.mean(predicted == true)),
        macro_f1=float(f1_score(true, predicted, labels=there, average="macro", zero_division=0)),
        recall={labels[i]: float(np.mean(predicted[true == i] == i)) for i in there},
    )


def evaluate(
    exported: OnnxModel, model: MentionClassifier, holdout: Rows, labels: list[str]
) -> tuple[Scores, Parity]:
    """Measure the exported file on held-out rows, and on the newest of them against torch.

    Args:
        exported: what would be served.
        model: what it was exported from.
        holdout: rows that the model has not seen.
        labels: the task's labels.
    """
    logits = exported.logits(holdout.texts.tolist(), holdout.features)
    newest = slice(-MAX_PARITY_ROWS, None)
    reference = torch_logits(
        model, exported.tokenizer, holdout.take(newest), max_length=exported.max_length
    )
    scores = score(logits.argmax(axis=1), holdout.labels, labels)
    return scores, compare(logits[newest], reference)


def torch_logits(
    model: MentionClassifier, tokenizer: TextTokenizer, rows: Rows, *, max_length: int
) -> Logits:
    """Return logits [rows, labels] of the model that was exported."""
    tokens = tokenizer.encode(rows.texts.tolist(), max_length)
    answers = np.empty((len(rows), model.head.out_features), dtype=np.float32)
    for batch in batches_by_length(np.array([len(ids) for ids in tokens]), EVALUATION_BATCH):
        input_ids, attention_mask = pad([tokens[i] for i in batch], tokenizer.pad_token_id)
        with torch.inference_mode():
            answers[batch] = model(
                torch.from_numpy(input_ids),
                torch.from_numpy(attention_mask),
                torch.from_numpy(rows.features[batch]),
            ).numpy()
    return answers


def compare(onnx: Logits, reference: Logits) -> Parity:
    """Compare logits of the exported file with torch's for the same rows, both [rows, labels].

    A logit that is not a number counts as infinitely far off.
    """
    difference = np.abs(onnx - reference)
    return Parity(
        rows=len(onnx),
        label_agreement=float(np.mean(onnx.argmax(axis=1) == reference.argmax(axis=1))),
        max_logit_difference=float(np.nan_to_num(difference, nan=np.inf).max()),
    )
