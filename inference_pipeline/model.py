"""A model version in memory: its tokenizer and its ONNX session, checked before use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

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


class LoadedModel:
    """Turns texts and features into probabilities. Safe to call from several threads at a time."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, session: ort.InferenceSession):
        self.manifest = manifest
        self._session = session
        self._tokenizer = tokenizer
        tokenizer.enable_truncation(max_length=manifest.max_length)
        # Pads to the longest text of a batch. Both settings are changed here only: a tokenizer
        # that is changed while other threads encode gives wrong answers.
        tokenizer.enable_padding(pad_id=manifest.pad_token_id)

    def predict(self, texts: Sequence[str], features: Floats) -> Floats:
        """Return the probability of each label.

        Args:
            texts: B texts as `shared.text.normalise` leaves them.
            features: float32 [B, features] in the manifest's order, NaN where one is missing.

        Returns:
            float32 [B, labels] in the manifest's order; rows sum to one.
        """
        logits = self.logits(texts, features)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = exponents / exponents.sum(axis=1, keepdims=True)
        return probabilities

    def logits(self, texts: Sequence[str], features: Floats) -> Floats:
        """Return the scores before softmax, float32 [B, labels]; arguments as for `predict`."""
        encoded = self._tokenizer.encode_batch(list(texts))
        inputs = {
            INPUT_IDS: np.array([row.ids for row in encoded], dtype=np.int64),
            ATTENTION_MASK: np.array([row.attention_mask for row in encoded], dtype=np.int64),
            FEATURES: features,
        }
        (logits,) = self._session.run([LOGITS], inputs)
        scores: Floats = logits
        return scores

    def no_features(self, rows: int) -> Floats:
        """Return float32 [rows, features] that says that every feature is missing."""
        return np.full((rows, len(self.manifest.features)), np.nan, dtype=np.float32)


def load_model(folder: Path) -> LoadedModel:
    """Load, verify and warm up the model version that a folder holds.

    Raises:
        ContractError: a file is absent or changed, cannot be read as what it should be, or the
            model does not give the golden answer of its manifest.
    """
    manifest = read_manifest(folder)
    onnx_file = folder / manifest.variants["fp32"].file
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # tokenizers raises bare Exception
        raise ContractError(
            str(folder / TOKENIZER_FILE), expected="a tokenizer", found="none that can be read"
        ) from error
    session = _open_session(onnx_file)
    _check_signature(session, manifest, onnx_file)
    model = LoadedModel(manifest, tokenizer, session)
    _check_golden_answer(model, folder)
    # The first pass at a batch size allocates: no request should pay for that.
    model.predict([manifest.golden.text] * _WARM_UP_BATCH, model.no_features(_WARM_UP_BATCH))
    return model


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
    try:
        found = model.logits([golden.text], model.no_features(1))[0]
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise ContractError(
            f"{folder}, golden input", expected="an answer", found="a failing forward pass"
        ) from error
    if found.shape != (len(golden.logits),):
        raise ContractError(
            f"{folder}, golden input",
            expected=f"{len(golden.logits)} logits",
            found=str(found.shape[-1]),
        )
    difference = float(np.abs(found - np.asarray(golden.logits, dtype=np.float32)).max())
    # Written so that NaN is refused too.
    if not difference <= golden.tolerance:
        raise ContractError(
            f"{folder}, golden input",
            expected=f"the manifest's logits within {golden.tolerance:g}",
            found=f"a difference of {difference:g}",
        )
