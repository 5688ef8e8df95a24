from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import TaskError
from shared.task import Task
from tests.training.sample import task_text
from training_pipeline.evaluation.behaviour import (
    MAX_CASES,
    Outcome,
    Probabilities,
    make_cases,
    pass_rate,
    run_behaviour,
    with_typo,
)
from training_pipeline.evaluation.behaviour_file import KINDS, Behaviour, load_behaviour

FILE = """
[words]
thing = ["flight", "app"]
good = ["great", "lovely"]

[[test]]
name = "praise"
kind = "mft"
aspect = "vocabulary"
label = "positive"
texts = ["{thing} was {good}"]

[[test]]
name = "another thing"
kind = "inv"
aspect = "subject swap"
vary = "thing"
texts = ["{thing} was {good}"]

[[test]]
name = "negation"
kind = "dir"
aspect = "negation"
label = "positive"
direction = "down"
texts = ["{thing} was {good}"]
becomes = ["{thing} was not {good}"]
"""


def task_with(behaviour: str | Path, **fields: Any) -> Task:
    """Return the sample's task with behavioural tests."""
    document = tomllib.loads(task_text("base"))
    document["training"] |= {"behaviour": str(behaviour), **fields}
    return Task.model_validate(document)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of behavioural tests."""
    path = tmp_path / "behaviour.toml"
    path.write_text(FILE)
    return path


def loaded(behaviour: str | Path, **fields: Any) -> Behaviour:
    """Return the tests that a task names."""
    found = load_behaviour(task_with(behaviour, **fields))
    assert found is not None
    return found


def answering(**rules: float) -> Any:
    """Return a model whose probability of ``positive`` is that of the first word it knows."""

    def predict(texts: list[str]) -> Probabilities:
        positive = [
            next((value for word, value in rules.items() if word in text.split()), 0.5)
            for text in texts
        ]
        return np.stack([1 - np.array(positive), np.array(positive)], axis=1)

    return predict


def by_name(outcomes: tuple[Outcome, ...]) -> dict[str, Outcome]:
    """Return outcomes by the name of their test."""
    return {one.name: one for one in outcomes}


def test_a_model_that_behaves(file: Path) -> None:
    """It labels praise as such, whatever is praised, and takes a negation for one."""
    predict = answering(**{"not": 0.2, "was": 0.9})
    outcomes = run_behaviour(loaded(file), predict, ["negative", "positive"])
    assert [(one.cases, one.passed) for one in outcomes] == [(4, 4), (2, 2), (4, 4)]
    assert [pass_rate(outcomes, kind) for kind in KINDS] == [1.0, 1.0, 1.0]


def test_broken_cases_say_what_was_wanted(file: Path) -> None:
    """Each kind of test finds the model that gets it wrong, and shows the case."""
    predict = answering(**{"not": 0.99, "app": 0.3, "was": 0.8})
    found = by_name(run_behaviour(loaded(file), predict, ["negative", "positive"]))
    assert (found["praise"].passed, found["praise"].broken[0].text) == (2, "app was great")
    assert found["another thing"].passed == 0
    assert found["another thing"].broken[0].wanted == "positive, as of 'flight was great'"
    assert found["negation"].broken[0].wanted == "probability of positive down from 0.80"
    assert found["negation"].broken[0].got == "0.99"


def test_a_small_move_the_wrong_way_is_borne(file: Path) -> None:
    """A probability that was near its end can hardly move: a tenth is no failure."""
    predict = answering(**{"not": 0.99, "was": 0.95})
    found = by_name(run_behaviour(loaded(file), predict, ["negative", "positive"]))
    assert found["negation"].pass_rate == 1.0


def test_no_tests_of_a_kind_give_no_rate() -> None:
    """A rate of nothing is none."""
    assert pass_rate((), "mft") is None


def test_the_built_in_tests_fit_two_labels() -> None:
    """A task without a neutral label leaves out what is about it, and is told."""
    found = loaded("builtin:sentiment")
    assert found.left_out == ("neutral statements",)
    assert {"negation", "subject swap", "typos"} <= {one.aspect for one in found.tests}


def test_the_built_in_tests_are_always_the_same() -> None:
    """Cases are many, bounded, no two alike, and do not change from call to call."""
    found = loaded("builtin:sentiment", behaviour_labels={"neutral": "negative"})
    assert found.left_out == ()
    for test in found.tests:
        cases = list(make_cases(test, found.words))
        assert cases == list(make_cases(test, found.words))
        assert 5 <= len(cases) <= MAX_CASES + len(test.texts)
        if test.vary != "typos":
            assert len(set(cases)) == len(cases)
        assert not any("{" in text for case in cases for text in case)


def test_labels_are_mapped(file: Path) -> None:
    """A file speaks of its own labels; the task file says which of the task's they are."""
    file.write_text(FILE.replace('"positive"', '"good"'))
    mapped = loaded(file, behaviour_labels={"good": "positive"})
    assert {one.label for one in mapped.tests} == {"positive", None}


def test_a_typo_swaps_two_letters_of_one_word() -> None:
    """First and last letters, short words and names stay."""
    random = np.random.default_rng(0)
    for _ in range(50):
        typed = with_typo("@united was wonderful to me", random)
        before, after = "wonderful", typed.split()[2]
        assert typed.split()[:2] == ["@united", "was"]
        assert sorted(before) == sorted(after)
        assert (before[0], before[-1]) == (after[0], after[-1])
    assert with_typo("@united so so", random) == "@united so so"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "mft"', 'kind = "maybe"', "test.0.kind: expected 'mft', 'inv' or 'dir'"),
        ('label = "positive"\ntexts', "texts", "for mft only label"),
        ('vary = "thing"', 'vary = "colour"', "{colour}, which is varied, in texts of test"),
        ("was {good}", "was {fine}", "a list words.fine, which test 'praise' uses"),
        ("was {good}", "was {0}", "templates with names such as {word}"),
        ("was {good}", "was {good", "expected"),
        ('becomes = ["{thing} was not {good}"]', "becomes = []", "test.2.becomes: expected"),
        ('name = "negation"', 'name = "praise"', "tests whose names differ"),
        ('label = "positive"\ntexts', 'label = "fine"\ntexts', "test.0.label: expected a label"),
        ("[words]", "[words", "expected a TOML document"),
    ],
)
def test_mistakes_are_named_by_place(file: Path, old: str, new: str, message: str) -> None:
    """A file that cannot be used says where, what was expected there and what was found."""
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(TaskError) as raised:
        loaded(file)
    assert message in str(raised.value)
    assert raised.value.place.startswith(str(file))


@pytest.mark.parametrize(
    ("behaviour", "fields", "message"),
    [
        ("no/such.toml", {}, "training.behaviour: expected a readable file no/such.toml"),
        ("builtin:weather", {}, "expected one of builtin:sentiment, or a file"),
        (
            "builtin:sentiment",
            {"behaviour_labels": {"positive": "fine"}},
            "training.behaviour_labels.positive: expected a label of the task: negative, positive",
        ),
    ],
)
def test_a_wrong_name_is_told(behaviour: str, fields: dict[str, Any], message: str) -> None:
    """A file that is not there, or a label that the task does not have, is a mistake."""
    with pytest.raises(TaskError, match=message):
        load_behaviour(task_with(behaviour, **fields))


def test_a_rate_needs_tests() -> None:
    """A pass rate is asked of a task that names its tests."""
    document = tomllib.loads(task_text("base"))
    document["training"]["gate"] = {"min_inv_pass_rate": 0.9}
    with pytest.raises(ValueError, match=r"training\.behaviour, which gate\.min_inv_pass_rate"):
        Task.model_validate(document)
