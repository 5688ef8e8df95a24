"""The search: trial after trial, each told to the study and to MLflow, until there are enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.errors import StateError, TaskError
from training_pipeline.fit import Checkpoints
from training_pipeline.stop import StopRequest
from training_pipeline.tune.objective import Objective
from training_pipeline.tune.page import search_page
from training_pipeline.tune.progress import SearchProgress
from training_pipeline.tune.study import SAMPLER, OpenTrial, Study
from training_pipeline.tune.tracking import SearchRun, SearchTracking, TrialRun
from training_pipeline.tune.trials import Measured, Trial, best_of

_MOST_FAILURES = 5
"""So many trials that fail in a row are no bad luck: the search ends."""


class _GivenUpError(Exception):
    """A trial is worse than most were."""


@dataclass(frozen=True)
class Found:
    """What a search has found so far."""

    trials: list[Trial]
    best: Trial
    importances: dict[str, float]


@dataclass(frozen=True)
class Search:
    """Looks for the best settings of one task."""

    objective: Objective
    study: Study
    tracking: SearchTracking
    checkpoints: Callable[[int], Checkpoints]
    """Those of the fit of a trial, by its number."""
    dataset_sha256: str
    clock: Callable[[], float] = time.monotonic

    def run(
        self, trials: int, *, timeout: float | None, progress: SearchProgress, stop: StopRequest
    ) -> Found:
        """Try until so many trials have ended, those of earlier calls counted.

        Args:
            trials: how many.
            timeout: seconds after which no other trial begins; None: there is no such limit.
            progress: hears of every trial and step.
            stop: hears of signals.

        Raises:
            StateError: no trial is complete, too many failed in a row, or MLflow is away.
            KeyboardInterrupt: asked to stop; the trial at hand is saved, and goes on next time.
        """
        begin = self.clock()
        with self.tracking.search(self._name, self.study.uid, self._parameters()) as run:
            ended = self.study.trials
            progress.search(len(ended), self._best(ended))
            while len(ended) < trials and (timeout is None or self.clock() - begin < timeout):
                _check_failures(ended)
                self._try(self.study.next_trial(), run, progress, stop)
                ended = self.study.trials
                progress.search(len(ended), self._best(ended))
            best = self._best(ended)
            if best is None:
                raise StateError(
                    f"search of {self._name}",
                    expected="a trial that is complete",
                    found=f"{len(ended)} trials{_last_reason(ended)}",
                    remedy="Ask for more --trials, or search in other values.",
                )
            found = Found(ended, best, self.study.importances())
            run.conclude(best, self._page(found))
        return found

    def _try(
        self, trial: OpenTrial, run: SearchRun, progress: SearchProgress, stop: StopRequest
    ) -> None:
        """Try a trial to its end. MLflow hears first: what it missed would be told again."""
        progress.begin(trial.number, trial.parameters)
        tracked = run.trial(trial.number, trial.parameters)
        checkpoints = self.checkpoints(trial.number)
        ended = Trial(trial.number, trial.parameters, "pruned", None)
        measured: Measured | None = None
        try:
            measured = self.objective(
                trial.parameters,
                epoch_ended=lambda epoch, seen: self._judge(trial, tracked, epoch, seen),
                checkpoints=checkpoints,
                progress=progress,
                stop=stop,
            )
            ended = replace(ended, outcome="complete", value=measured.value(self._goal))
        except _GivenUpError:
            pass
        except TaskError as error:  # any other says nothing of the parameters: the trial stays open
            ended = replace(ended, outcome="failed", reason=str(error))
        tracked.end(ended.outcome, measured, ended.reason)
        trial.end(ended.outcome, ended.value, ended.reason)
        checkpoints.clear()
        progress.end(ended)

    def _judge(self, trial: OpenTrial, tracked: TrialRun, epoch: int, measured: Measured) -> None:
        """Note how good a trial is after an epoch, and give it up if it is worse than most."""
        if not measured.finite:
            return  # the fit's own end tells what happened
        tracked.epoch(epoch, measured)
        last = epoch == self.objective.epochs(trial.parameters)
        if trial.worse_than_most(epoch, measured.value(self._goal)) and not last:
            raise _GivenUpError

    @property
    def _name(self) -> str:
        return self.objective.task.name

    @property
    def _goal(self) -> str:
        return self.objective.task.training.search.objective

    def _best(self, trials: list[Trial]) -> Trial | None:
        return best_of(trials, greatest=self.study.greatest)

    def _parameters(self) -> dict[str, object]:
        """Return what decides the search, as MLflow shows it."""
        training = self.objective.task.training
        return {
            "objective": training.search.objective,
            "sampler": SAMPLER,
            "pruner": training.search.pruner,
            "seed": training.seed,
            "dataset_sha256": self.dataset_sha256,
            **{f"space_{name}": values for name, values in training.search.space.items()},
        }

    def _page(self, found: Found) -> str:
        return search_page(
            self._name,
            self._goal,
            found.trials,
            found.importances,
            greatest=self.study.greatest,
        )


def _check_failures(trials: list[Trial]) -> None:
    last = trials[-_MOST_FAILURES:]
    if len(last) == _MOST_FAILURES and all(trial.outcome == "failed" for trial in last):
        raise StateError(
            "search",
            expected=f"a trial that does not fail, after {_MOST_FAILURES} that did",
            found=f"none{_last_reason(trials)}",
            remedy="Mend that, and give --fresh to begin anew.",
        )


def _last_reason(trials: list[Trial]) -> str:
    reasons = [trial.reason for trial in trials if trial.reason]
    return f"; the last that failed: {reasons[-1]}" if reasons else ""
