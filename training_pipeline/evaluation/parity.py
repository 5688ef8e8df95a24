"""Parity: how far an exported file answers as torch does, in company and alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from training_pipeline.batches import batches_by_length, pad
from training_pipeline.encoder import TextTokenizer
from training_pipeline.evaluation.scores import Labels
from training_pipeline.model import MentionClassifier
from training_pipeline.onnx_model import EVALUATION_BATCH, Logits, OnnxModel
from training_pipeline.rows import Indices, Rows

MAX_PARITY_ROWS = 2_000


@dataclass(frozen=True)
class Parity:
    """How far the exported file agrees with torch on the same rows."""

    rows: int
    label_agreement: float
    max_logit_difference: float
    differing: Indices = field(repr=False, compare=False)
    """Positions of the rows that got another label, among the rows compared."""
    wanted: Labels = field(repr=False, compare=False)
    """Torch's labels of those."""
    got: Labels = field(repr=False, compare=False)
    """The file's labels of those."""


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
    got, wanted = onnx.argmax(axis=1), reference.argmax(axis=1)
    differing = np.flatnonzero(got != wanted)
    return Parity(
        rows=len(onnx),
        label_agreement=1 - len(differing) / len(onnx),
        max_logit_difference=float(np.nan_to_num(difference, nan=np.inf).max()),
        differing=differing,
        wanted=wanted[differing],
        got=got[differing],
    )


def parity(exported: OnnxModel, together: Logits, rows: Rows, reference: Logits) -> Parity:
    """Compare an exported file with torch, its texts in batches and each alone.

    Sums of floating-point numbers, and some ways to quantise, lean on the shape of a batch. Of the
    two ways to run, the worse counts.

    Args:
        exported: the file.
        together: its logits of the rows in batches, [rows, labels].
        rows: what was asked.
        reference: torch's logits, [rows, labels].
    """
    alone = exported.logits(rows.texts.tolist(), rows.features, batch_size=1)
    batched, single = compare(together, reference), compare(alone, reference)
    worse = min(batched, single, key=lambda one: one.label_agreement)
    farthest = max(batched.max_logit_difference, single.max_logit_difference)
    return replace(worse, max_logit_difference=farthest)
