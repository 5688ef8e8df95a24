"""A model version in memory: its tokenizer and its ONNX sessions, checked before use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

from inference_pipeline.versions.sessions import Inputs, Sessions
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

Floats = npt.NDArray[np.float32]

_WARM_UP_BATCH = 8


@dataclass(frozen=True, eq=False)
class Encoding:
    """One text as the model reads it."""

    ids: npt.NDArray[np.int64]
    """Token ids, special tokens included, cut to the manifest's max_length, not padded."""

    def __len__(self) -> int:
        return len(self.ids)


class LoadedModel:
    """Turns texts and features into logits. Safe to call from several threads at a time."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        sessions: Sessions,
        *,
        variant: str = FULL_PRECISION,
        refused_variants: tuple[ContractError, ...] = (),
    ) -> None:
        self.manifest = manifest
        self.variant = variant
        self.refused_variants = refused_variants
        """Why variants that would be faster do not serve, though their recorded parity passes."""
        self._tokenizer = tokenizer
        self._sessions: Sessions | None = sessions
        # Changed here only: a tokenizer that is changed while others encode gives wrong answers.
        tokenizer.enable_truncation(max_length=manifest.max_length)
        tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return B encodings of B texts as `shared.text.normalise` leaves them."""
        # One by one: a batch would be spread over threads that compete with the forward passes.
        encoded = map(self._tokenizer.encode, texts)
        return [Encoding(np.array(row.ids, dtype=np.int64)) for row in encoded]

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Return the scores before softmax.

        Args:
            encodings: B texts; they are padded to the longest.
            features: float32 [B, features] in the manifest's order, NaN where one is missing.
            alone: nothing else runs: the pass may take all cores.

        Returns:
            float32 [B, labels] in the manifest's order.
        """
        sessions = self._sessions
        if sessions is None:
            raise RuntimeError("the model version is closed")
        scores: Floats = sessions.run(LOGITS, self._inputs(encodings, features), alone=alone)
        return scores

    def warm_up(self) -> None:
        """Run passes as requests will: the first at a batch size allocates."""
        texts = self.encode([self.manifest.golden.text] * _WARM_UP_BATCH)
        for alone in (True, False):
            self.scores(texts, self.no_features(_WARM_UP_BATCH), alone=alone)

    def _inputs(self, encodings: Sequence[Encoding], features: Floats) -> Inputs:
        shape = (len(encodings), max(map(len, encodings)))
        ids = np.full(shape, self.manifest.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        return {INPUT_IDS: ids, ATTENTION_MASK: mask, FEATURES: features}

    def no_features(self, rows: int) -> Floats:
        """Return float32 [rows, features] that says that every feature is missing."""
        return np.full((rows, len(self.manifest.features)), np.nan, dtype=np.float32)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._sessions is None

    def close(self) -> None:
        """Let go of the sessions' memory. A pass that runs ends well; later ones are refused."""
        self._sessions = None


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of logits, float32 [B, labels]; rows sum to one."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def load_model(folder: Path, bounds: ParityBounds | None = None, *, cores: int = 1) -> LoadedModel:
    """Load, verify and warm up the model version that a folder holds.

    Of the variants whose recorded parity is within the bounds and that give the golden answer
    here, the fastest is taken.

    Args:
        folder: holds the files of the version.
        bounds: how far a variant may be off; None: the default.
        cores: what a pass may use that is alone.

    Raises:
        ContractError: a file is absent or changed, cannot be read as what it should be, or the
            model does not give the golden answer of its manifest.
    """
    manifest = read_manifest(folder)
    full_precision, *others = servable(manifest, bounds or ParityBounds())
    models = {full_precision: _load_variant(folder, manifest, full_precision, cores)}
    refused = []
    for name in others:
        try:
            models[name] = _load_variant(folder, manifest, name, cores)
        except ContractError as error:
            # Quantised arithmetic differs between processors: full precision is still good.
            refused.append(error)
    chosen = fastest({name: model.warm_up for name, model in models.items()})
    model = models[chosen]
    model.refused_variants = tuple(refused)
    return model


def _load_variant(folder: Path, manifest: Manifest, name: str, cores: int) -> LoadedModel:
    onnx_file = folder / manifest.variants[name].file
    sessions = Sessions(onnx_file, cores=cores)
    _check_signature(sessions.narrow, manifest, onnx_file)
    # Each has a tokenizer of its own: it is a few megabytes, and never shared by accident.
    model = LoadedModel(manifest, _open_tokenizer(folder), sessions, variant=name)
    _check_golden_answer(model, folder)
    model.warm_up()
    return model


def _open_tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # tokenizers raises bare Exception
        raise ContractError(
            str(folder / TOKENIZER_FILE), expected="a tokenizer", found="none that can be read"
        ) from error


def _check_signature(session: InferenceSession, manifest: Manifest, onnx_file: Path) -> None:
    inputs = {given.name: given.shape for given in session.get_inputs()}
    outputs = {given.name: given.shape for given in session.get_outputs()}
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


def _check_golden_answer(model: LoadedModel, folder: Path) -> None:
    golden = model.manifest.golden
    place = f"{folder}, golden input"
    tolerance = golden.tolerance
    if model.variant != FULL_PRECISION:
        place = f"{folder}, variant {model.variant}, golden input"
        # The answer is full precision's; the variant may differ from it by what was recorded.
        tolerance += model.manifest.variants[model.variant].max_logit_difference
    try:
        found = model.scores(model.encode([golden.text]), model.no_features(1))[0]
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
