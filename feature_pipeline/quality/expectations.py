"""What a task expects of the rows of its views: one definition for files and for the stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT
from shared.task import Task

LABELLED = "labelled"
"""Whether a mention has a label: a column that only a whole history can have."""


@dataclass(frozen=True)
class Expectation:
    """What at most a share of the rows of a view may fail.

    Attributes:
        name: for metrics and reports.
        view: the feature view.
        says: what a row should be like, in words.
        failing: true for rows that are not like that; never null.
        allowed: share of failing rows, 0 to 1.
        of_history: it needs the column ``LABELLED``.
    """

    name: str
    view: str
    says: str
    failing: pl.Expr
    allowed: float = 0.0
    of_history: bool = False


def expectations_of(task: Task) -> list[Expectation]:
    """Return a task's expectations, and those that all tasks have."""
    return [
        *_of_texts(task),
        *_of_names(task),
        *_of_contents(task),
        *_of_arrival(task),
        *_of_labels(task),
    ]


def _of_texts(task: Task) -> Iterator[Expectation]:
    """That a mention is whole, and its text as long as it should be."""
    quality, view = task.quality, MENTION_TEXT
    needed = (KNOWN_AT, "mention_id", "subject_id", "source_id", "text", "published_at")
    yield Expectation(
        "text_complete",
        view,
        "has all that a mention needs",
        pl.any_horizontal(pl.col(needed).is_null()) | (pl.col("text") == "").fill_null(value=True),
    )
    for column, bounds in (("characters", quality.characters), ("words", quality.words)):
        if bounds is not None:
            above = "" if bounds.max is None else f" to {bounds.max}"
            beyond = pl.lit(value=False) if bounds.max is None else pl.col(column) > bounds.max
            yield Expectation(
                column,
                view,
                f"has {bounds.min}{above} {column}" if above else f"has {bounds.min}+ {column}",
                (pl.col(column) < bounds.min) | beyond,
                bounds.allowed,
            )


def _of_names(task: Task) -> Iterator[Expectation]:
    """That a mention says whom it is about, and who said it."""
    quality = task.quality
    for role, allowance, default in (
        ("subject", quality.named_subject, task.subjects.default),
        ("source", quality.named_source, task.sources.default),
    ):
        if allowance is not None:
            yield Expectation(
                f"named_{role}",
                MENTION_TEXT,
                f"has a {role} other than {default!r}",
                pl.col(f"{role}_id") == default,
                allowance.allowed,
            )


def _of_contents(task: Task) -> Iterator[Expectation]:
    """That a text is in a known language, and no copy."""
    quality, view = task.quality, MENTION_TEXT
    if quality.language is not None:
        yield Expectation(
            "language",
            view,
            f"is in {', '.join(quality.language.known)}",
            ~pl.col("language").is_in(quality.language.known).fill_null(value=False),
            quality.language.allowed,
        )
    if quality.original is not None:
        yield Expectation(
            "original",
            view,
            "is no near-copy of an earlier text",
            ~pl.col("fingerprint").is_first_distinct(),
            quality.original.allowed,
        )


def _of_arrival(task: Task) -> Iterator[Expectation]:
    """That a mention comes in time, and with a label where it should have one."""
    quality, view = task.quality, MENTION_TEXT
    if quality.delay is not None:
        yield Expectation(
            "delay",
            view,
            f"is known within {quality.delay.max} of its publication, and not before it",
            ~(pl.col(KNOWN_AT) - pl.col("published_at")).is_between(
                pl.duration(), quality.delay.max
            ),
            quality.delay.allowed,
        )
    if quality.labelled is not None:
        yield Expectation(
            "labelled",
            view,
            "has a label",
            ~pl.col(LABELLED),
            quality.labelled.allowed,
            of_history=True,
        )


def _of_labels(task: Task) -> Iterator[Expectation]:
    view, label = MENTION_LABEL, pl.col("label")
    yield Expectation(
        "label_set",
        view,
        f"is one of {', '.join(task.labels)}",
        ~label.is_in(task.labels).fill_null(value=False),
    )
    share = task.quality.label_share
    if share is None:
        return
    for name in task.labels:
        yield Expectation(
            f"most_{name}", view, f"is another label than {name}", label == name, share.max
        )
        yield Expectation(
            f"fewest_{name}", view, f"is the label {name}", label != name, 1.0 - share.min
        )
