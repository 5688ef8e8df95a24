"""Following the alias ``champion``: new versions are checked first and swapped in whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from inference_pipeline.champion import (
    Champion,
    FeatureMismatchError,
    load_champion,
    store_hash,
)
from inference_pipeline.features import FeatureReader
from inference_pipeline.join import FeatureJoin
from inference_pipeline.metrics import Metrics
from inference_pipeline.registry import ModelRegistry, ModelVersion
from shared.errors import ContractError, FtiError, StateError
from shared.logs import get_logger
from shared.manifest import CHAMPION

log = get_logger(__name__)

_STOP_SECONDS = 10.0


class NoChampionError(StateError):
    """No version is in service."""


@dataclass(frozen=True)
class Refusal:
    """A version that failed a check."""

    version: ModelVersion
    reason: ContractError
    mismatch: FeatureMismatchError | None
    """Set when a change of the feature store can mend it."""


@dataclass(frozen=True)
class WatcherState:
    """What the watcher knows. Replaced as a whole, never changed: readers need no lock."""

    champion: Champion | None = None
    refusal: Refusal | None = None
    """The version that the alias names, if it may not serve."""
    trouble: FtiError | None = None
    """Why the last look gave no version; None after one that did."""


class ChampionWatcher:
    """Polls the alias in a thread and keeps `state` up to date.

    A request asks for the champion once and holds on to it, so that a version which is swapped
    out lives until its last request is answered.
    """

    def __init__(
        self,
        model_name: str,
        *,
        registry: ModelRegistry,
        reader: FeatureReader,
        join: FeatureJoin,
        metrics: Metrics,
        poll: timedelta,
    ) -> None:
        self.model_name = model_name
        self._registry = registry
        self._reader = reader
        self._join = join
        self._metrics = metrics
        self._poll = poll
        self._stopping = threading.Event()
        # A daemon, so that a hanging download cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="champion-watcher", daemon=True)
        self.state = WatcherState(
            trouble=StateError(
                f"model {model_name}", expected="a first look at the registry", found="none so far"
            )
        )

    @property
    def alive(self) -> bool:
        """Whether the alias is being followed."""
        return self._thread.is_alive()

    def champion(self) -> Champion:
        """Return the version in service.

        Raises:
            NoChampionError: there is none; the message says what is missing.
        """
        state = self.state
        if state.champion is not None:
            return state.champion
        why = state.refusal.reason if state.refusal else state.trouble
        if why is None:
            why = _nothing_registered(self.model_name)
        raise NoChampionError(why.place, expected=why.expected, found=why.found, remedy=why.remedy)

    def start(self) -> None:
        """Start to follow the alias."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to follow the alias; the champion stays in service."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def look(self) -> None:
        """Look at the alias once, and put the version that it names into service if it passes.

        Raises:
            FtiError: the registry did not answer; look again later.
        """
        wanted = self._registry.champion(self.model_name)
        if wanted is None:
            self._note_trouble(_nothing_registered(self.model_name))
            return
        state = replace(self.state, trouble=None)
        if state.champion is not None and state.champion.version == wanted:
            self.state = replace(state, refusal=None)
        elif state.refusal is not None and self._still_refused(state.refusal, wanted):
            self.state = state
        else:
            self._try(wanted, state)

    def _try(self, wanted: ModelVersion, state: WatcherState) -> None:
        folder = self._registry.fetch(wanted)
        try:
            champion = load_champion(wanted, folder, self._reader)
        except ContractError as error:
            refusal = _refusal(wanted, error, folder)
            self.state = replace(state, refusal=refusal)
            self._metrics.refused.inc()
            log.error(  # noqa: TRY400 - the reason and its cause say more than a traceback
                "model_refused",
                version=wanted.version,
                reason=str(refusal.reason),
                cause=_cause(error),
            )
            return
        self._join.warm_up(champion.service)
        # The swap: one assignment, which a request sees either before or after.
        self.state = WatcherState(champion=champion)
        self._metrics.serve_version(wanted.name, wanted.version)
        log.info("model_in_service", model=wanted.name, version=wanted.version)

    def _still_refused(self, refusal: Refusal, wanted: ModelVersion) -> bool:
        """Tell whether trying the version again would end the same way."""
        if refusal.version != wanted:
            return False
        mismatch = refusal.mismatch
        if mismatch is None:
            return True
        return store_hash(self._reader, mismatch.feature_service) == mismatch.store_hash

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except FtiError as error:
                self._metrics.poll_failures.inc()
                self._note_trouble(error)
            except Exception as error:  # noqa: BLE001 - the thread must outlive every failure
                self._metrics.poll_failures.inc()
                self._note_trouble(_unexpected(error), error)
            self._stopping.wait(self._poll.total_seconds())

    def _note_trouble(self, trouble: FtiError, unexpected: Exception | None = None) -> None:
        if str(trouble) != str(self.state.trouble):
            # Once, not at every look while it lasts.
            log.warning(
                "no_new_model", reason=str(trouble), cause=_cause(trouble), exc_info=unexpected
            )
        self.state = replace(self.state, trouble=trouble)


def _refusal(version: ModelVersion, error: ContractError, folder: Path) -> Refusal:
    # The reason is shown over HTTP, where paths of this machine are nobody's business.
    reason = ContractError(
        error.place.replace(str(folder), f"{version.name} version {version.version}"),
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )
    mismatch = error if isinstance(error, FeatureMismatchError) else None
    return Refusal(version=version, reason=reason, mismatch=mismatch)


def _cause(error: FtiError) -> str | None:
    return None if error.__cause__ is None else repr(error.__cause__)[:500]


def _nothing_registered(model_name: str) -> StateError:
    return StateError(
        f"model {model_name}",
        expected=f"a registered version with the alias {CHAMPION}",
        found="none",
        remedy="Run `python -m training_pipeline train`; it is picked up when it is there.",
    )


def _unexpected(error: Exception) -> StateError:
    return StateError(
        "champion watcher",
        expected="a complete look at the model registry",
        found=type(error).__name__,
        remedy="It is tried again; the log tells more.",
    )
