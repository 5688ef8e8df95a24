"""Behavioural tests as a file describes them, after CheckList (Ribeiro et al. 2020)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import TaskError
from shared.task import Task
from shared.validation import first_error

BUILTIN = "builtin:"
_BUILTIN_FOLDER = Path(__file__).parent / "behaviours"
_PLACE = "task file, training.behaviour"
_REMEDY = "README.md, 'Bring your own data', says what a file of behavioural tests holds."

Kind = Literal["mft", "inv", "dir"]
KINDS: tuple[Kind, ...] = ("mft", "inv", "dir")
Texts = Annotated[list[str], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BehaviourTest(_Part):
    """One expectation, over all texts that its templates make."""

    name: Annotated[str, Field(min_length=1)]
    kind: Kind
    """``mft``: each text has the label. ``inv``: texts that differ in what does not matter have the
    same label. ``dir``: a change moves the probability of the label the way it should."""
    aspect: Annotated[str, Field(min_length=1)]
    """What it looks at: negation, typos."""
    texts: Texts
    """Templates; ``{word}`` stands for each word of a list of that name."""
    label: str | None = None
    """That texts must have (mft), or whose probability must move (dir)."""
    vary: str | None = None
    """Inv: the list of words that must not matter, or ``typos``: two letters change places."""
    becomes: Texts | None = None
    """Dir: what each of ``texts`` is changed into."""
    direction: Literal["up", "down"] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        needs = {"mft": {"label"}, "inv": {"vary"}, "dir": {"label", "becomes", "direction"}}
        optional = ("label", "vary", "becomes", "direction")
        given = {field for field in optional if getattr(self, field) is not None}
        if given != needs[self.kind]:
            told = ", ".join(sorted(needs[self.kind]))
            raise ValueError(f"of the fields that differ by kind, for {self.kind} only {told}")
        if self.becomes is not None and len(self.becomes) != len(self.texts):
            raise ValueError("as many templates in becomes as in texts")
        return self

    @property
    def templates(self) -> list[str]:
        """All of its templates."""
        return [*self.texts, *(self.becomes or [])]


class BehaviourFile(_Part):
    """A file of behavioural tests."""

    words: dict[str, Texts] = {}
    test: Annotated[list[BehaviourTest], Field(min_length=1)]

    @model_validator(mode="after")
    def _words_are_listed(self) -> Self:
        names = [one.name for one in self.test]
        if len(set(names)) != len(names):
            raise ValueError("tests whose names differ")
        for one in self.test:
            for template in one.templates:
                for word in fields(template):
                    if word not in self.words:
                        raise ValueError(f"a list words.{word}, which test {one.name!r} uses")
            if one.vary not in (None, "typos") and any(
                one.vary not in fields(template) for template in one.texts
            ):
                raise ValueError(f"{{{one.vary}}}, which is varied, in texts of test {one.name!r}")
        return self


@dataclass(frozen=True)
class Behaviour:
    """Behavioural tests in the labels of a task."""

    tests: tuple[BehaviourTest, ...]
    words: Mapping[str, list[str]]
    left_out: tuple[str, ...]
    """Names of built-in tests about labels that the task does not have."""


def fields(template: str) -> list[str]:
    """Return the names of the lists of words that a template uses, each once, in order.

    Raises:
        ValueError: it is no template of plain names.
    """
    found = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    for name in found:
        if not re.fullmatch(r"[a-z_]+", name):
            raise ValueError(f"templates with names such as {{word}}, unlike {{{name}}}")
    return list(dict.fromkeys(found))


def load_behaviour(task: Task) -> Behaviour | None:
    """Return the behavioural tests that a task names, with the task's labels; None: it names none.

    Of built-in tests, those about labels that the task does not have are left out: a task of two
    labels has nothing neutral. In a file of the task's own that is a mistake.

    Raises:
        TaskError: the file is absent or does not hold such tests, or labels do not fit.
    """
    named = task.training.behaviour
    if named is None:
        return None
    path = _path(named)
    described = _read(path)
    for theirs, ours in task.training.behaviour_labels.items():
        if ours not in task.labels:
            raise TaskError(
                f"task file, training.behaviour_labels.{theirs}",
                expected=f"a label of the task: {', '.join(task.labels)}",
                found=repr(ours),
            )
    tests = tuple(_relabelled(described, path, task, lenient=named.startswith(BUILTIN)))
    if not tests:
        raise TaskError(
            "task file, training.behaviour_labels",
            expected=f"labels of {named} mapped to labels of the task",
            found="none that any test is about",
        )
    kept = {one.name for one in tests}
    left_out = tuple(one.name for one in described.test if one.name not in kept)
    return Behaviour(tests=tests, words=described.words, left_out=left_out)


def _relabelled(
    described: BehaviourFile, path: Path, task: Task, *, lenient: bool
) -> Iterator[BehaviourTest]:
    for number, one in enumerate(described.test):
        if one.label is None:
            yield one
            continue
        label = task.training.behaviour_labels.get(one.label, one.label)
        if label in task.labels:
            yield one.model_copy(update={"label": label})
        elif not lenient:
            raise TaskError(
                f"{path}, test.{number}.label",
                expected=f"a label of the task: {', '.join(task.labels)}",
                found=repr(one.label),
                remedy="Map it in training.behaviour_labels.",
            )


def _path(named: str) -> Path:
    if not named.startswith(BUILTIN):
        return Path(named).expanduser()
    path = _BUILTIN_FOLDER / f"{named.removeprefix(BUILTIN)}.toml"
    known = sorted(file.stem for file in _BUILTIN_FOLDER.glob("*.toml"))
    if path.stem not in known:
        raise TaskError(
            _PLACE,
            expected=f"one of {', '.join(BUILTIN + name for name in known)}, or a file",
            found=repr(named),
        )
    return path


def _read(path: Path) -> BehaviourFile:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(
            _PLACE, expected=f"a readable file {path}", found=str(error.strerror), remedy=_REMEDY
        ) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(str(path), expected="a TOML document", found=str(error)) from error
    try:
        return BehaviourFile.model_validate(document)
    except ValidationError as error:
        field, expected, found = first_error(error)
        place = f"{path}, {field}" if error.errors()[0]["loc"] else str(path)
        raise TaskError(place, expected=expected, found=found, remedy=_REMEDY) from error
