"""The behaviour of a model on texts made from templates, which any model must get right."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from shared.text import normalise
from training_pipeline.evaluation.behaviour_file import Behaviour, BehaviourTest, Kind, fields

MAX_CASES = 100
"""Of one test; of more, a fixed choice is taken."""
TOLERANCE = 0.1
"""Probability by which a directional change may go the wrong way (as in CheckList)."""
TYPOS = "typos"
_VARIANTS = 4

Probabilities = npt.NDArray[np.float64]
Predict = Callable[[list[str]], Probabilities]
"""Texts to probabilities, [texts, labels]."""


@dataclass(frozen=True)
class Broken:
    """One case that did not come out as it must."""

    text: str
    wanted: str
    got: str


@dataclass(frozen=True)
class Outcome:
    """How one test came out."""

    name: str
    kind: Kind
    aspect: str
    cases: int
    broken: tuple[Broken, ...]

    @property
    def passed(self) -> int:
        """How many cases came out as they must."""
        return self.cases - len(self.broken)

    @property
    def pass_rate(self) -> float:
        """Share of its cases."""
        return self.passed / self.cases


def pass_rate(outcomes: tuple[Outcome, ...], kind: Kind) -> float | None:
    """Return the share of passed cases over all tests of a kind; None: there is no such test."""
    cases = sum(one.cases for one in outcomes if one.kind == kind)
    passed = sum(one.passed for one in outcomes if one.kind == kind)
    return passed / cases if cases else None


def run_behaviour(described: Behaviour, predict: Predict, labels: list[str]) -> tuple[Outcome, ...]:
    """Run all tests of a file, in its order.

    Args:
        described: the tests, about labels of the task.
        predict: asks the model, about texts of which nothing else is known.
        labels: the task's labels, in the order of the probabilities.
    """
    outcomes = []
    for test in described.tests:
        cases = list(make_cases(test, described.words))
        flat = [normalise(text) for case in cases for text in case]
        ends = np.cumsum([len(case) for case in cases])[:-1]
        answers = np.split(predict(flat), ends)
        broken = (_judge(test, case, one, labels) for case, one in zip(cases, answers, strict=True))
        outcomes.append(
            Outcome(
                name=test.name,
                kind=test.kind,
                aspect=test.aspect,
                cases=len(cases),
                broken=tuple(one for one in broken if one is not None),
            )
        )
    return tuple(outcomes)


def make_cases(test: BehaviourTest, words: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the cases of a test.

    A case is a text (mft), a text and its variants (inv), or a text before and after (dir).

    The same test gives the same cases: what is chosen depends on its name alone.
    """
    random = np.random.default_rng(zlib.crc32(test.name.encode()))
    per_template = -(-MAX_CASES // len(test.texts))
    for number, template in enumerate(test.texts):
        after = test.becomes[number] if test.becomes else None
        used = [name for name in fields(template + (after or "")) if name != test.vary]
        for filled in _fillings(used, words, per_template, random):
            if test.kind == "mft":
                yield (template.format(**filled),)
            elif after is not None:
                yield template.format(**filled), after.format(**filled)
            elif test.vary == TYPOS:
                text = template.format(**filled)
                yield text, *(with_typo(text, random) for _ in range(_VARIANTS))
            elif test.vary is not None:
                others = words[test.vary]
                yield tuple(template.format(**filled, **{test.vary: word}) for word in others)


def with_typo(text: str, random: np.random.Generator) -> str:
    """Return a text in which two neighbouring letters of one word have changed places.

    The first and the last letter of a word stay, and so do names such as @united: typos there
    are other names.
    """
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]  # noqa: PLR2004
    if not long:
        return text
    place = long[random.integers(len(long))]
    word = words[place]
    at = int(random.integers(1, len(word) - 2))
    words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def _fillings(
    names: list[str], words: Mapping[str, list[str]], most: int, random: np.random.Generator
) -> Iterator[dict[str, str]]:
    sizes = [len(words[name]) for name in names]
    total = prod(sizes)
    chosen = range(total) if total <= most else np.sort(random.choice(total, most, replace=False))
    for number in chosen:
        places = np.unravel_index(int(number), sizes) if sizes else ()
        yield {name: words[name][int(i)] for name, i in zip(names, places, strict=True)}


def _judge(
    test: BehaviourTest, case: tuple[str, ...], answers: Probabilities, labels: list[str]
) -> Broken | None:
    """Return what is wrong with the answers to a case, [texts of the case, labels]."""
    predicted = answers.argmax(axis=1)
    if test.kind == "mft":
        if labels[predicted[0]] == test.label:
            return None
        return Broken(case[0], wanted=str(test.label), got=labels[predicted[0]])
    if test.kind == "inv":
        strayed = np.flatnonzero(predicted != predicted[0])
        if len(strayed) == 0:
            return None
        first = strayed[0]
        return Broken(
            case[first],
            wanted=f"{labels[predicted[0]]}, as of {case[0]!r}",
            got=labels[predicted[first]],
        )
    before, after = answers[:, labels.index(str(test.label))]
    wrong_way = before - after if test.direction == "up" else after - before
    if wrong_way <= TOLERANCE:
        return None
    return Broken(
        case[1],
        wanted=f"probability of {test.label} {test.direction} from {before:.2f}",
        got=f"{after:.2f}",
    )
