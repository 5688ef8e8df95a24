r"""Rows of a file, a column at a time: those that surely fit, without a look at each.

A row by itself costs a hundred times as much as in a column. What is decided here is only which
rows need no look: the checks are stricter than the rule (``RowAdmission``), and a row that does not
pass them goes by the rule. A test holds the two against each other.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from feature_pipeline.batch.column_times import surely_times
from feature_pipeline.batch.row_admission import LABEL_FIELDS, identity
from feature_pipeline.definition.deltas import MOMENT
from shared.events import EARLIEST, LATEST, MAX_ID_CHARS, MAX_LANGUAGE_CHARS, MAX_URL_CHARS
from shared.task import Task
from shared.text import MAX_TEXT_CHARS, normalise

ADMITTED_SCHEMA = pl.Schema(
    {
        "row": pl.Int64(),
        "mention_id": pl.String(),
        "subject_id": pl.String(),
        "source_id": pl.String(),
        "text": pl.String(),
        "published_at": MOMENT,
        "language": pl.String(),
        "url": pl.String(),
        "label": pl.String(),
        "labelled_at": MOMENT,
        "annotator": pl.String(),
    }
)
"""Admitted rows, by their number in the file; ``label`` is null where there is none."""

_TIMES = ("published_at", "labelled_at")
_TEXTS = tuple(name for name in ADMITTED_SCHEMA if name not in {"row", *_TIMES})
_SIGN = r"[!-~\p{L}\p{N}]"
"""Surely no white space, to Python as to Polars."""
_LETTER = (
    r"[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u0410-\u044f\u0621-\u063a\u3041-\u3096"
    r"\u4e00-\u9fa5\uac00-\ud7a3]"
)
"""Surely something to read. Python and Polars know different versions of Unicode."""


class ColumnAdmission:
    """Finds the rows that surely fit, and what they become."""

    def __init__(self, task: Task, now: datetime) -> None:
        self._task = task
        self._now = now

    def surely(self, table: pl.DataFrame, whole: pl.Series) -> pl.DataFrame:
        """Return what the rows become that surely fit.

        Args:
            table: rows of a file, as in ``history_file.Block``, ``published_at`` given or
                simulated.
            whole: which of them the table shows.

        Returns:
            ``ADMITTED_SCHEMA`` rows, with the index in the table as ``row``.
        """
        texts = {name: _as_text(table, name) for name in _TEXTS}
        times = {name: _column(table, name) for name in _TIMES}
        rows = pl.DataFrame(
            {
                **texts,
                **{name: surely_times(given) for name, given in times.items()},
                "whole": whole,
            }
        ).with_row_index("row")
        changed = [
            _not_null(given) & rows[name].is_null()
            for name, given in ((name, _column(table, name)) for name in (*_TEXTS, "labelled_at"))
            if name in table.columns
        ]
        for lost in changed:  # a type that is no text, a time that is written in another way
            rows = rows.with_columns(whole=pl.col("whole") & ~lost)
        rows = rows.filter("whole").drop("whole").with_columns(pl.col("row").cast(pl.Int64))
        rows = rows.filter(*self._label_checks())
        rows = self._named(rows.filter(*_plain_checks(), *self._time_checks()), table)
        rows = rows.filter(_is_id("mention_id"), _is_id("subject_id"), _is_id("source_id"))
        rows = rows.filter(_readable(rows["text"]))
        return self._with_label_times(rows).select(ADMITTED_SCHEMA.names())

    def _named(self, rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        """Fill in the ids that a file does not give."""
        if "mention_id" not in table.columns:
            rows = rows.with_columns(mention_id=self._identities(rows, table))
        for name, rules in (("subject_id", self._task.subjects), ("source_id", self._task.sources)):
            if rows[name].null_count():
                named = [
                    rules.resolve(text) if given is None else given
                    for given, text in zip(rows[name], rows["text"], strict=True)
                ]
                rows = rows.with_columns(pl.Series(name, named, dtype=pl.String))
        return rows

    def _identities(self, rows: pl.DataFrame, table: pl.DataFrame) -> pl.Series:
        given = [name for name in table.columns if name not in LABEL_FIELDS]
        if self._task.input.replay is not None:
            given.remove("published_at")  # simulated: no part of what the file tells
        columns = {name: rows[name] for name in given}
        for name in columns:
            if table[name].dtype.is_integer():
                columns[name] = table[name].gather(rows["row"])
        fields = pl.DataFrame(columns).iter_rows(named=True)
        return pl.Series([identity(each) for each in fields], dtype=pl.String)

    def _time_checks(self) -> list[pl.Expr]:
        published = pl.col("published_at")
        return [published > EARLIEST, published < LATEST, published <= self._now]

    def _label_checks(self) -> list[pl.Expr]:
        labels = [label for label in self._task.labels if len(label) <= MAX_ID_CHARS]
        labelled = pl.col("labelled_at")
        in_time = (labelled > EARLIEST) & (labelled < LATEST) & (labelled <= self._now)
        fits = pl.col("label").is_in(labels) & (labelled.is_null() | in_time)
        fits &= pl.col("annotator").is_null() | _is_id("annotator")
        return [pl.col("label").is_null() | fits]

    def _with_label_times(self, rows: pl.DataFrame) -> pl.DataFrame:
        delayed = pl.col("published_at") + self._task.input.label_delay
        return rows.with_columns(
            labelled_at=pl.coalesce("labelled_at", pl.min_horizontal(delayed, self._now)),
            annotator=pl.col("annotator").fill_null("unknown"),
        )


def _column(table: pl.DataFrame, name: str) -> pl.Series:
    """Return a column; nulls where the file has none."""
    if name in table.columns:
        return table[name]
    return pl.Series(name, [None] * table.height, dtype=pl.String)


def _as_text(table: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as text: null where it is blank, and where its type is another."""
    given = _column(table, name)
    if name.endswith("_id") and given.dtype.is_integer():
        return given.cast(pl.String)
    if not isinstance(given.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        return pl.Series(name, [None] * table.height, dtype=pl.String)
    text = given.cast(pl.String)
    return text.to_frame().select(pl.when(pl.col(name).str.contains(r"\S")).then(name)).to_series()


def _not_null(given: pl.Series) -> pl.Series:
    """Tell where a column says something; blank text and NaN do not."""
    if isinstance(given.dtype, pl.String):
        return given.str.contains(r"\S").fill_null(value=False)
    return given.is_not_null()


def _plain_checks() -> list[pl.Expr]:
    return [
        pl.col("text").str.len_chars().is_between(1, MAX_TEXT_CHARS),
        _fits("language", 2, MAX_LANGUAGE_CHARS),
        _fits("url", 1, MAX_URL_CHARS),
    ]


def _fits(name: str, least: int, most: int) -> pl.Expr:
    """Return whether an optional text is absent, or within limits and surely not blank."""
    text = pl.col(name)
    within = text.str.len_chars().is_between(least, most) & text.str.contains(_SIGN)
    return text.is_null() | within


def _is_id(name: str) -> pl.Expr:
    text = pl.col(name)
    return (text.str.len_chars() <= MAX_ID_CHARS) & text.str.contains(
        rf"^{_SIGN}(?s:.*){_SIGN}$|^{_SIGN}$"
    )


def _readable(texts: pl.Series) -> pl.Series:
    """Tell which texts have something to read: surely, or by normalising them."""
    without_references = pl.col("text").str.replace_all(r"&[^ \t\n]*", "")
    found = texts.to_frame().select(without_references.str.contains(_LETTER))
    surely = found.to_series()
    if surely.all():
        return surely
    looked_at = [sure or bool(normalise(text)) for sure, text in zip(surely, texts, strict=True)]
    return pl.Series(looked_at, dtype=pl.Boolean)
