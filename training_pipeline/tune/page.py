"""The page of a search: its history, what mattered, the best parameters; one file of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training_pipeline.report.charts import bar_chart, line_chart
from training_pipeline.report.document import document
from training_pipeline.report.markup import Markup, table, tag
from training_pipeline.tune.trials import Trial, as_toml, best_of


def search_page(
    name: str,
    objective: str,
    trials: Sequence[Trial],
    importances: Mapping[str, float],
    *,
    greatest: bool,
) -> str:
    """Return the page as HTML.

    Args:
        name: of the task.
        objective: what the search goes by.
        trials: all that have ended, in order.
        importances: share of the differences that each parameter explains, the greatest first.
        greatest: whether the best value is the greatest.
    """
    best = best_of(list(trials), greatest=greatest)
    outcomes = [trial.outcome for trial in trials]
    told = (
        f"{len(trials)} trials: {outcomes.count('complete')} complete, "
        f"{outcomes.count('pruned')} given up early, {outcomes.count('failed')} failed. "
        f"Values are {objective} of rows held back from those that were trained on."
    )
    explained = (
        bar_chart(list(importances.items()))
        if importances
        else tag("p", "Too few trials are complete, or all came to the same.")
    )
    sections = {
        "Best parameters": tag(
            "pre", as_toml(best.parameters) if best else "No trial is complete."
        ),
        "History": history_chart(trials, greatest=greatest),
        "Importance (fANOVA)": explained,
        "Trials": _trial_table(trials),
    }
    return document(f"Search for settings of {name}", told, sections)


def history_chart(trials: Sequence[Trial], *, greatest: bool) -> Markup:
    """Return the values of complete trials, and the best up to each."""
    values = [
        (float(trial.number), trial.value)
        for trial in trials
        if trial.outcome == "complete" and trial.value is not None
    ]
    better = max if greatest else min
    best = [
        (number, better(value for _, value in values[: place + 1]))
        for place, (number, _) in enumerate(values)
    ]
    return line_chart({"value": values, "best so far": best}, across="trial")


def _trial_table(trials: Sequence[Trial]) -> Markup:
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    return table(
        ["trial", "outcome", "value", *names, "reason"],
        [
            [
                str(trial.number),
                trial.outcome,
                "" if trial.value is None else f"{trial.value:.4f}",
                *(_short(trial.parameters.get(name, "")) for name in names),
                trial.reason,
            ]
            for trial in trials
        ],
    )


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
