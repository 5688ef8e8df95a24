"""The study: which trials there were and which one comes next. The only module that knows Optuna.

What a trial tries is a function of the seed, its number and the trials before it, since the
sampler begins anew with each: a search that was interrupted tries what another would have tried.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from shared.errors import StateError
from shared.search import LOGARITHMIC, WHOLE, Choices, Range, Search, Values
from training_pipeline.tune.trials import Outcome, Parameters, Trial, Value

SAMPLER = "TPESampler"
"""Tree-structured Parzen estimator (Bergstra et al. 2011); the first ten trials are random."""
_LEAST_FOR_IMPORTANCE = 4
_OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_STATES = {outcome: state for state, outcome in _OUTCOMES.items()}
_UID, _FINGERPRINT, _REASON = "uid", "fingerprint", "reason"


class OpenTrial:
    """A trial that is being tried."""

    def __init__(self, study: Study, trial: optuna.Trial, space: Mapping[str, Values]) -> None:
        self._study = study
        self._trial = trial
        self.number: int = trial.number
        # What was drawn before an interruption is given again.
        self.parameters: Parameters = {
            name: _drawn(trial, name, values) for name, values in space.items()
        }

    def worse_than_most(self, epoch: int, value: float) -> bool:
        """Note a value after an epoch; return whether the trial is to be given up."""
        if epoch not in self._study.values_seen(self.number):
            self._trial.report(value, epoch)
        return bool(self._trial.should_prune())

    def end(self, outcome: Outcome, value: float | None = None, reason: str = "") -> None:
        """Keep what came of the trial.

        Args:
            outcome: how it ended.
            value: what the search goes by, of a complete trial.
            reason: why it failed.
        """
        self._trial.set_user_attr(_REASON, reason)
        self._study.end(self._trial, outcome, value)


class Study:
    """Trials of one task, kept in an SQLite file. One process at a time uses it."""

    def __init__(self, path: Path, name: str, search: Search, *, seed: int) -> None:
        """Open the study, or begin it.

        Args:
            path: of the file; its folder is there.
            name: of the study.
            search: what is tried, and what it is judged by.
            seed: of what is tried.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search = search
        self._seed = seed
        self._study = optuna.create_study(
            storage=RDBStorage(f"sqlite:///{path}"),
            study_name=name,
            direction="maximize" if self.greatest else "minimize",
            sampler=self._sampler(0),
            pruner=_pruner(search),
            load_if_exists=True,
        )
        if _UID not in self._study.user_attrs:
            self._study.set_user_attr(_UID, uuid.uuid4().hex)

    @property
    def uid(self) -> str:
        """What tells this study from one that was begun anew under its name."""
        return str(self._study.user_attrs[_UID])

    @property
    def greatest(self) -> bool:
        """Whether the best value is the greatest."""
        return self._search.objective != "loss"

    def check(self, fingerprint: Mapping[str, str]) -> None:
        """Check that earlier trials can be compared with those to come.

        Args:
            fingerprint: what decides a trial's value, by name.

        Raises:
            StateError: the study was begun with something else.
        """
        known = json.loads(self._study.user_attrs.get(_FINGERPRINT, "null"))
        if known is None:
            self._study.set_user_attr(_FINGERPRINT, json.dumps(dict(fingerprint)))
            return
        differing = [
            name for name in {**known, **fingerprint} if known.get(name) != fingerprint.get(name)
        ]
        if differing:
            raise StateError(
                f"search of {self._study.study_name}",
                expected="the same rows and settings as the trials before had",
                found=f"a change of {', '.join(sorted(differing))}",
                remedy="Give --fresh to begin anew; the trials before are given up then.",
            )

    @property
    def trials(self) -> list[Trial]:
        """The trials that have ended, in order."""
        return [
            Trial(
                number=trial.number,
                parameters=self._in_words(trial),
                outcome=_OUTCOMES[trial.state],
                value=trial.value,
                reason=trial.user_attrs.get(_REASON, ""),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state in _OUTCOMES
        ]

    def next_trial(self) -> OpenTrial:
        """Return the trial that was interrupted, if there is one, else a new one."""
        known = self._study.get_trials(deepcopy=False)
        begun = [trial for trial in known if trial.state is TrialState.RUNNING]
        self._study.sampler = self._sampler(begun[0].number if begun else len(known))
        trial = optuna.Trial(self._study, begun[0]._trial_id) if begun else self._study.ask()
        return OpenTrial(self, trial, self._search.space)

    def values_seen(self, number: int) -> Mapping[int, float]:
        """Return the values of a trial that were noted, by epoch."""
        return self._study.get_trials(deepcopy=False)[number].intermediate_values

    def end(self, trial: optuna.Trial, outcome: Outcome, value: float | None) -> None:
        """Keep what came of a trial."""
        self._study.tell(trial, value, state=_STATES[outcome])

    def importances(self) -> dict[str, float]:
        """Return how much of the differences each parameter explains, the greatest first (fANOVA).

        Empty, where too few trials are complete, or all came to the same.
        """
        complete = [trial for trial in self.trials if trial.outcome == "complete"]
        if len(complete) < _LEAST_FOR_IMPORTANCE or len({one.value for one in complete}) == 1:
            return {}
        return get_param_importances(
            self._study, evaluator=FanovaImportanceEvaluator(seed=self._seed)
        )

    def _sampler(self, number: int) -> TPESampler:
        seed = np.random.SeedSequence([self._seed, number]).generate_state(1)[0]
        return TPESampler(seed=int(seed))

    def _in_words(self, trial: FrozenTrial) -> Parameters:
        """Return a trial's parameters in the order of the space."""
        return {name: trial.params[name] for name in self._search.space if name in trial.params}


def _drawn(trial: optuna.Trial, name: str, values: Values) -> Value:
    drawn: Any
    match values:
        case Choices():
            drawn = trial.suggest_categorical(name, values.choices)
        case Range() if name in WHOLE:
            drawn = trial.suggest_int(name, int(values.min), int(values.max))
        case Range():
            logarithmic = name in LOGARITHMIC
            drawn = trial.suggest_float(name, values.min, values.max, log=logarithmic)
    value: Value = drawn
    return value


def _pruner(search: Search) -> BasePruner:
    return MedianPruner() if search.pruner == "median" else NopPruner()
