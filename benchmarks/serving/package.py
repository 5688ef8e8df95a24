"""A model version for the benchmark: a fitted head, the project's export, eight bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.errors import BenchmarkError
from benchmarks.serving.bare import BareModel
from benchmarks.serving.materials import FILES, Variant
from benchmarks.serving.texts import Text
from inference_pipeline.versions.variants import ParityBounds
from shared.feature_store import FeatureService
from shared.manifest import (
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    sha256_of,
)
from shared.manifest import Variant as ManifestVariant
from shared.task import Task
from training_pipeline.batches import pad
from training_pipeline.encoder import TextTokenizer, load_tokenizer, resolve_base
from training_pipeline.export import export
from training_pipeline.fit import build_model
from training_pipeline.model import MentionClassifier
from training_pipeline.quantise import quantise

Floats = npt.NDArray[np.float32]

_ENCODED_AT_A_TIME = 16
_BOUNDS = ParityBounds()
"""The server's own, by default."""
_RIDGE = 1.0
"""Of the mean variance of an input."""
_SHARPNESS = 1.5
"""Standard deviation of the logits."""


def pool_texts(texts: list[str], task: Task) -> torch.Tensor:
    """Return what the base encoder, as it is, makes of texts: [texts, hidden]."""
    base = resolve_base(task.training.base)
    tokenizer = load_tokenizer(base, task.training.max_length)
    model = build_model(np.empty((0, 0), np.float32), task, base=base).eval()
    torch.set_num_threads(1)  # with more, they wait for each other on a machine that is not idle
    tokens = sorted(enumerate(tokenizer.encode(texts, task.training.max_length)), key=_length)
    pooled: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for start in range(0, len(tokens), _ENCODED_AT_A_TIME):
            rows, batch = zip(*tokens[start : start + _ENCODED_AT_A_TIME], strict=True)
            ids, mask = map(torch.from_numpy, pad(list(batch), tokenizer.pad_token_id))
            pooled.update(zip(rows, model.pool(ids, mask), strict=True))
    return torch.stack([pooled[row] for row in range(len(texts))])


def fit_head(
    texts: list[Text], pooled: torch.Tensor, features: Floats, task: Task
) -> MentionClassifier:
    """Return a classifier whose head was fitted to the labels, on the base encoder as it is.

    It takes a moment, and decides as a trained one does: without it all logits are nearly equal,
    and labels say nothing of whether an answer is right.

    Args:
        texts: to learn from.
        pooled: what `pool_texts` made of them.
        features: float32 [texts, features].
        task: gives base, labels and training.
    """
    base = resolve_base(task.training.base)
    model = build_model(features, task, base=base).eval()
    with torch.no_grad():
        known = torch.cat([pooled, *model.standardise(torch.from_numpy(features))], dim=1)
        wanted = torch.eye(len(task.labels))[[text.label for text in texts]] - 1 / len(task.labels)
        centred = known - known.mean(dim=0)
        # Ridge regression, scaled so that probabilities spread as a classifier's do. A weak ridge
        # would lean on small differences, which eight bits do not keep.
        ridge = _RIDGE * centred.square().sum() / known.shape[1] * torch.eye(known.shape[1])
        weights = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ wanted)
        weights *= _SHARPNESS / (centred @ weights).std()
        model.head.weight.copy_(weights.T)
        model.head.bias.copy_(-known.mean(dim=0) @ weights)
    return model


def _length(numbered: tuple[int, list[int]]) -> int:
    return len(numbered[1])


def make_package(
    folder: Path,
    *,
    model: MentionClassifier,
    tokenizer: TextTokenizer,
    task: Task,
    service: FeatureService,
    columns: list[str],
    texts: list[str],
    features: Floats,
) -> dict[Variant, Manifest]:
    """Write the files of a version; return a manifest for each variant that is to be the fastest.

    Args:
        folder: where to.
        model: in evaluation mode.
        tokenizer: of the model.
        task: gives labels, length and rules.
        service: what the feature store serves.
        columns: what the model reads of it.
        texts: on which parity is measured.
        features: float32 [texts, features] of them.
    """
    folder.mkdir(parents=True)
    export(model, tokenizer, folder, max_length=task.training.max_length)
    quantise(folder / FILES["fp32"], folder / FILES["int8"])
    draft = Manifest(
        task=task.name,
        labels=task.labels,
        feature_service=service.name,
        feature_hash=service.hash,
        features=columns,
        max_length=task.training.max_length,
        pad_token_id=tokenizer.pad_token_id,
        tokenizer_sha256=sha256_of(folder / TOKENIZER_FILE),
        variants={"fp32": _variant(folder, "fp32", 1.0, 0.0)},
        golden=Golden(text=texts[0], logits=[0.0] * len(task.labels)),
        subjects=task.subjects,
        sources=task.sources,
        metrics={},
    )
    (folder / MANIFEST_FILE).write_text(draft.model_dump_json())
    exact, small = (_all_logits(folder, variant, texts, features) for variant in ("fp32", "int8"))
    agreement = float((exact.argmax(axis=1) == small.argmax(axis=1)).mean())
    difference = float(np.abs(exact - small).max())
    golden = BareModel(folder, FILES["fp32"], threads=0).logits(texts[0])
    fp32 = draft.model_copy(
        update={"golden": Golden(text=texts[0], logits=[float(x) for x in golden])}
    )
    int8 = _variant(folder, "int8", agreement, difference)
    if not _BOUNDS.allow(int8):
        raise BenchmarkError(
            f"{folder.name}, int8",
            expected=f"what the server takes: {_BOUNDS}",
            found=f"{agreement:.1%} of the labels, and logits within {difference:.2f} of fp32",
        )
    both = dict(fp32.variants) | {"int8": int8}
    return {"fp32": fp32, "int8": fp32.model_copy(update={"variants": both})}


def _all_logits(folder: Path, variant: Variant, texts: list[str], features: Floats) -> Floats:
    model = BareModel(folder, FILES[variant], threads=0)
    return np.stack([model.logits(text, features[[row]]) for row, text in enumerate(texts)])


def _variant(
    folder: Path, variant: Variant, agreement: float, difference: float
) -> ManifestVariant:
    file = FILES[variant]
    return ManifestVariant(
        file=file,
        sha256=sha256_of(folder / file),
        label_agreement=agreement,
        max_logit_difference=difference,
    )
