"""A model version in memory: its tokenizer and its ONNX session, checked before use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

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
        session: ort.InferenceSession,
        *,
        variant: str = FULL_PRECISION,
        refused_variants: tuple[ContractError, ...] = (),
    ) -> None:
        self.manifest = manifest
        self.variant = variant
        self.refused_variants = refused_variants
        """Why variants that would be faster do not serve, though their recorded parity passes."""
        self._tokenizer = tokenizer
        self._session: ort.InferenceSession | None = session
        # Changed here only: a tokenizer that is changed while others encode gives wrong answers.
        tokenizer.enable_truncation(max_length=manifest.max_length)
        tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return B encodings of B texts as `shared.text.normalise` leaves them."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        return [Encoding(np.array(row.ids, dtype=np.int64)) for row in encoded]

    def scores(self, encodings: Sequence[Encoding], features: Floats) -> Floats:
        """Return the scores before softmax.

        Args:
            encodings: B texts; they are padded to the longest.
            features: float32 [B, features] in the manifest's order, NaN where one is missing.

        Returns:
            float32 [B, labels] in the manifest's order.
        """
        session = self._session
        if session is None:
            raise RuntimeError("the model version is closed")
        shape = (len(encodings), max(map(len, encodings)))
        ids = np.full(shape, self.manifest.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        (logits,) = session.run(
            [LOGITS], {INPUT_IDS: ids, ATTENTION_MASK: mask, FEATURES: features}
        )
        scores: Floats = logits
        return scores

    def no_features(self, rows: int) -> Floats:
        """Return float32 [rows, features] that says that every feature is missing."""
        return np.full((rows, len(self.manifest.features)), np.nan, dtype=np.float32)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session is None

    def close(self) -> None:
        """Let go of the session's memory. A pass that runs ends well; later ones are refused."""
        self._session = None


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of logits, float32 [B, labels]; rows sum to one."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def load_model(folder: Path, bounds: ParityBounds | None = None) -> LoadedModel:
    """Load, verify and warm up the model version that a folder holds.

    Of the variants whose recorded parity is within the bounds and that give the golden answer
    here, the fastest is taken.

    Raises:
        ContractError: a file is absent or changed, cannot be read as what it should be, or the
            model does not give the golden answer of its manifest.
    """
    manifest = read_manifest(folder)
    full_precision, *others = servable(manifest, bounds or ParityBounds())
    models = {full_precision: _load_variant(folder, manifest, full_precision)}
    refused = []
    for name in others:
        try:
            models[name] = _load_variant(folder, manifest, name)
        except ContractError as error:
            # Quantised arithmetic differs between processors: full precision is still good.
            refused.append(error)
    chosen = fastest({name: partial(_warm_up, model) for name, model in models.items()})
    model = models[chosen]
    model.refused_variants = tuple(refused)
    return model


def _load_variant(folder: Path, manifest: Manifest, name: str) -> LoadedModel:
    onnx_file = folder / manifest.variants[name].file
    session = _open_session(onnx_file)
    _check_signature(session, manifest, onnx_file)
    # Each has a tokenizer of its own: it is a few megabytes, and never shared by accident.
    model = LoadedModel(manifest, _open_tokenizer(folder), session, variant=name)
    _check_golden_answer(model, folder)
    _warm_up(model)
    return model


def _warm_up(model: LoadedModel) -> None:
    # The first pass at a batch size allocates: no request should pay for that.
    texts = [model.manifest.golden.text] * _WARM_UP_BATCH
    model.scores(model.encode(texts), model.no_features(_WARM_UP_BATCH))


def _open_tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # tokenizers raises bare Exception
        raise ContractError(
            str(folder / TOKENIZER_FILE), expected="a tokenizer", found="none that can be read"
        ) from error


def _open_session(onnx_file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # A pass runs on the one thread that calls it: throughput comes from passes side by side.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            str(onnx_file), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise ContractError(
            str(onnx_file), expected="an ONNX model", found="a file that onnxruntime refuses"
        ) from error


def _check_signature(session: ort.InferenceSession, manifest: Manifest, onnx_file: Path) -> None:
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
