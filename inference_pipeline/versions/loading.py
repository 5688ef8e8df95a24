"""From the files of a version to a model in memory: nothing serves that was not checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from inference_pipeline.versions.model import LoadedModel
from inference_pipeline.versions.sessions import Sessions
from inference_pipeline.versions.variants import FULL_PRECISION, ParityBounds, fastest, servable
from shared.errors import ContractError
from shared.manifest import (
    ATTENTION_MASK,
    FEATURES,
    INPUT_IDS,
    LOGITS,
    TOKENIZER_FILE,
    Manifest,
    read_manifest,
)


def load_model(
    folder: Path, bounds: ParityBounds | None = None, *, lone_pass_threads: int = 1
) -> LoadedModel:
    """Load, verify and warm up the model version that a folder holds.

    Of the variants whose recorded parity is within the bounds and that give the golden answer
    here, the fastest is taken.

    Args:
        folder: holds the files of the version.
        bounds: how far a variant may be off; None: the default.
        lone_pass_threads: of a forward pass while nothing else runs.

    Raises:
        ContractError: a file is absent or changed, cannot be read as what it should be, or the
            model does not give the golden answer of its manifest.
    """
    manifest = read_manifest(folder)
    full_precision, *others = servable(manifest, bounds or ParityBounds())
    models = {full_precision: _load_variant(folder, manifest, full_precision, lone_pass_threads)}
    refused = []
    for name in others:
        try:
            models[name] = _load_variant(folder, manifest, name, lone_pass_threads)
        except ContractError as error:
            # Quantised arithmetic differs between processors: full precision is still good.
            refused.append(error)
    # Passes side by side decide: under load there are no others.
    chosen = fastest({name: model.warm_up for name, model in models.items()})
    model = models[chosen]
    model.refused_variants = tuple(refused)
    return model


def _load_variant(
    folder: Path, manifest: Manifest, name: str, lone_pass_threads: int
) -> LoadedModel:
    onnx_file = folder / manifest.variants[name].file
    sessions = Sessions(onnx_file, lone_pass_threads=lone_pass_threads)
    _check_signature(sessions, manifest, onnx_file)
    # Each has a tokenizer of its own: it is a few megabytes, and never shared by accident.
    model = LoadedModel(manifest, _open_tokenizer(folder), sessions, variant=name)
    for alone in (True, False):
        _check_golden_answer(model, folder, alone=alone)
        model.warm_up(alone=alone)
    return model


def _open_tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # tokenizers raises bare Exception
        raise ContractError(
            str(folder / TOKENIZER_FILE), expected="a tokenizer", found="none that can be read"
        ) from error


def _check_signature(sessions: Sessions, manifest: Manifest, onnx_file: Path) -> None:
    inputs, outputs = sessions.inputs, sessions.outputs
    if set(inputs) != {INPUT_IDS, ATTENTION_MASK, FEATURES} or LOGITS not in outputs:
        raise ContractError(
            str(onnx_file),
            expected=f"inputs {INPUT_IDS}, {ATTENTION_MASK}, {FEATURES} and an output {LOGITS}",
            found=f"inputs {', '.join(inputs)} and outputs {', '.join(outputs)}",
        )
    for name, shape, wanted in (
        (FEATURES, inputs[FEATURES], len(manifest.features)),
        (LOGITS, outputs[LOGITS], len(manifest.labels)),
    ):
        # A text in place of a number is a dimension that the graph leaves open.
        if isinstance(shape[-1], int) and shape[-1] != wanted:
            raise ContractError(
                f"{onnx_file}, {name}",
                expected=f"{wanted} columns, as the manifest lists",
                found=str(shape[-1]),
            )


def _check_golden_answer(model: LoadedModel, folder: Path, *, alone: bool) -> None:
    golden = model.manifest.golden
    place = f"{folder}, golden input"
    tolerance = golden.tolerance
    if model.variant != FULL_PRECISION:
        place = f"{folder}, variant {model.variant}, golden input"
        # The answer is full precision's; the variant may differ from it by what was recorded.
        tolerance += model.manifest.variants[model.variant].max_logit_difference
    try:
        encodings = model.encode([golden.text])
        found = model.scores(encodings, model.no_features(1), alone=alone)[0]
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise ContractError(place, expected="an answer", found="a failing forward pass") from error
    if found.shape != (len(golden.logits),):
        raise ContractError(
            place, expected=f"{len(golden.logits)} logits", found=str(found.shape[-1])
        )
    difference = float(np.abs(found - np.asarray(golden.logits, dtype=np.float32)).max())
    # Written so that NaN is refused too.
    if not difference <= tolerance:
        raise ContractError(
            place,
            expected=f"the manifest's logits within {tolerance:g}",
            found=f"a difference of {difference:g}",
        )
