"""The evaluation: each exported file on held-out rows, and all else of the one to serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from training_pipeline.evaluation.behaviour import Outcome, Probabilities, run_behaviour
from training_pipeline.evaluation.behaviour_file import Behaviour
from training_pipeline.evaluation.champion import ChampionPackage, FeatureSchema, compare_champion
from training_pipeline.evaluation.comparison import Comparison, Uncompared
from training_pipeline.evaluation.intervals import Counts
from training_pipeline.evaluation.parity import MAX_PARITY_ROWS, Parity, parity, torch_logits
from training_pipeline.evaluation.reliability import Reliability, reliability, softmax
from training_pipeline.evaluation.scores import Labels, Scores, score
from training_pipeline.evaluation.slices import Slice, slices
from training_pipeline.evaluation.speed import Speed, speed
from training_pipeline.model import MentionClassifier
from training_pipeline.onnx_model import FULL_PRECISION, INT8, Logits, OnnxModel
from training_pipeline.rows import Rows


@dataclass(frozen=True)
class FileEvaluation:
    """One exported file."""

    exported: OnnxModel = field(repr=False)
    logits: Logits = field(repr=False)
    """[held-out rows, labels]."""
    scores: Scores
    parity: Parity
    """With torch, on the newest of the held-out rows."""
    parity_from: int
    """Position of the first of these."""

    @property
    def predicted(self) -> Labels:
        """Labels, [held-out rows]."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Evaluation:
    """All that was measured on held-out rows."""

    labels: list[str]
    holdout: Rows = field(repr=False)
    tokens: Counts = field(repr=False)
    """Length of each held-out text, [rows]."""
    linear: Scores
    """Of the baseline."""
    files: Mapping[str, FileEvaluation]
    """By variant."""
    headline: str
    """The variant that will serve, to which all that follows belongs."""
    reliability: Reliability
    slices: tuple[Slice, ...]
    comparison: Comparison | Uncompared
    behaviour: tuple[Outcome, ...]
    """Empty where the task names no behavioural tests."""
    untested: tuple[str, ...]
    """Built-in behavioural tests about labels that the task does not have."""
    speed: Speed

    @property
    def served(self) -> FileEvaluation:
        """The file that will serve."""
        return self.files[self.headline]

    @property
    def serving(self) -> Mapping[str, FileEvaluation]:
        """The files that may serve: full precision always may."""
        return {name: self.files[name] for name in dict.fromkeys((FULL_PRECISION, self.headline))}


@dataclass(frozen=True)
class Examination:
    """What a model is examined on."""

    labels: list[str]
    schema: FeatureSchema
    behaviour: Behaviour | None
    champion: ChampionPackage | None
    min_slice_rows: int
    seed: int


def evaluate(
    files: Mapping[str, OnnxModel],
    model: MentionClassifier,
    holdout: Rows,
    linear: Scores,
    examination: Examination,
    *,
    accepts_int8: Callable[[Parity], bool],
) -> Evaluation:
    """Measure exported files on held-out rows.

    Args:
        files: by variant, full precision first.
        model: what they were exported from.
        holdout: rows that the model has not seen.
        linear: how well the baseline did on them.
        examination: what else to measure.
        accepts_int8: whether the int8 file is near enough to torch to serve.

    Raises:
        ContractError: the champion's files are not what its manifest says.
    """
    evaluated = evaluate_files(files, model, holdout, examination)
    small = evaluated.get(INT8)
    headline = INT8 if small is not None and accepts_int8(small.parity) else FULL_PRECISION
    served = evaluated[headline]
    right = served.predicted == holdout.labels
    tokens = served.exported.lengths(holdout.texts.tolist())
    return Evaluation(
        labels=examination.labels,
        holdout=holdout,
        tokens=tokens,
        linear=linear,
        files=evaluated,
        headline=headline,
        reliability=reliability(softmax(served.logits), holdout.labels),
        slices=slices(holdout, right, tokens, min_rows=examination.min_slice_rows),
        comparison=compare_champion(
            examination.champion,
            served.predicted,
            holdout,
            labels=examination.labels,
            schema=examination.schema,
            seed=examination.seed,
        ),
        behaviour=_behaviour(served.exported, examination),
        untested=examination.behaviour.left_out if examination.behaviour else (),
        speed=speed(served.exported, holdout),
    )


def evaluate_files(
    files: Mapping[str, OnnxModel],
    model: MentionClassifier,
    holdout: Rows,
    examination: Examination,
) -> dict[str, FileEvaluation]:
    """Return the scores of each file, and its parity on the newest MAX_PARITY_ROWS rows."""
    newest = holdout.take(slice(-MAX_PARITY_ROWS, None))
    parity_from = len(holdout) - len(newest)
    exact = files[FULL_PRECISION]
    reference = torch_logits(model, exact.tokenizer, newest, max_length=exact.max_length)
    evaluated = {}
    for variant, exported in files.items():
        logits = exported.logits(holdout.texts.tolist(), holdout.features)
        predicted = np.asarray(logits.argmax(axis=1), dtype=np.int64)
        evaluated[variant] = FileEvaluation(
            exported=exported,
            logits=logits,
            scores=score(predicted, holdout.labels, examination.labels, seed=examination.seed),
            parity=parity(exported, logits[parity_from:], newest, reference),
            parity_from=parity_from,
        )
    return evaluated


def _behaviour(exported: OnnxModel, examination: Examination) -> tuple[Outcome, ...]:
    if examination.behaviour is None:
        return ()

    def predict(texts: list[str]) -> Probabilities:
        shape = (len(texts), len(examination.schema.columns))
        nothing_known = np.full(shape, np.nan, dtype=np.float32)
        return softmax(exported.logits(texts, nothing_known))

    return run_behaviour(examination.behaviour, predict, examination.labels)
