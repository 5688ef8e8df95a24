"""``tune``: search for better settings of training."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console

from shared.duration import parse_duration
from shared.task import load_task
from training_pipeline.commands.command import Command, add_task
from training_pipeline.exit_codes import EXIT_DONE
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

if TYPE_CHECKING:
    from training_pipeline.tune.search import Found

_TRIALS = 20


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Try settings of the task's [training.search], judged by rows held back from those that"
        " are trained on; the held-out rows of the gate are not looked at. Interrupted, the same"
        " command goes on where it stopped."
    )
    parser.epilog = "exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted"
    add_task(parser)
    parser.add_argument(
        "--trials",
        type=_count,
        default=_TRIALS,
        metavar="N",
        help="trials in all, those of earlier calls counted (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="TIME",
        help="begin no other trial after this time, such as 90s, 30m or 8h",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, and give up what was tried before"
    )


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    stop = StopRequest()
    stop.listen()
    task = load_task(options.task or settings.task)
    # After the task was read: what comes now takes seconds to import.
    from training_pipeline.tune.bootstrap import open_search
    from training_pipeline.tune.progress import SearchProgress

    console = Console()
    objective = task.training.search.objective
    with (
        open_search(settings, task, fresh=options.fresh) as search,
        SearchProgress(console, trials=options.trials, objective=objective) as progress,
    ):
        found = search.run(options.trials, timeout=options.timeout, progress=progress, stop=stop)
    _show(console, found, objective)
    return EXIT_DONE


def _show(console: Console, found: Found, objective: str) -> None:
    from training_pipeline.tune.trials import as_toml

    counted = Counter(trial.outcome for trial in found.trials)
    console.print(
        f"{len(found.trials)} trials: {counted['complete']} complete, {counted['pruned']} given up"
        f" early, {counted['failed']} failed."
    )
    for reason, times in Counter(trial.reason for trial in found.trials if trial.reason).items():
        console.print(f"Failed {times} times: {reason}", markup=False)
    if found.importances:
        told = ", ".join(f"{name} {share:.0%}" for name, share in found.importances.items())
        console.print(f"What mattered: {told}.")
    console.print(f"Best {objective}: {found.best.value:.4f}, trial {found.best.number}.")
    console.print("Its parameters, for the task file:\n")
    console.print(as_toml(found.best.parameters), markup=False, highlight=False)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 at least")
    return number


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}, found {text!r}") from None


TUNE = Command("tune", "search for better settings of training", _run, _add_arguments)
