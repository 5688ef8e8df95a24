"""One model that is followed: what its aliases name is checked first, and swapped in whole."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from inference_pipeline.versions.freed_memory import give_back_freed_memory
from inference_pipeline.versions.leases import Holder
from inference_pipeline.versions.registry import SERVED_ALIASES, ModelVersion, NamedVersion
from inference_pipeline.versions.served import FeatureMismatchError, load_served, store_hash
from inference_pipeline.versions.state import InService, ModelState, Refusal
from inference_pipeline.versions.surroundings import Surroundings
from inference_pipeline.versions.troubles import (
    incomplete_look,
    not_looked_yet,
    nothing_registered,
    stale_registry,
)
from shared.errors import ContractError, FtiError
from shared.logs import get_logger
from shared.manifest import CHAMPION

log = get_logger(__name__)

_REGISTRY = "registry"
_FEATURE_STORE = "feature store"
_LOOK = "look"


class FollowedModel:
    """Keeps `state` as the registry says. Readers need no lock; changes are made one at a time."""

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.name = name
        self._at = surroundings
        self._changing = threading.Lock()
        self._lost: set[ModelVersion] = set()
        self._changed = False
        """Versions came or went since freed memory was given back."""
        self.state = ModelState(name).trouble(
            _REGISTRY,
            not_looked_yet(name),
        )

    def look(self) -> None:
        """Look at the aliases once, and put into service what they name and passes its checks.

        Never raises: what went wrong stands in `state`. Without an answer of the registry, what
        served last is brought back from disk if nothing serves.
        """
        if self._changed:
            # At the look after a swap: by then whoever held what served before has let go of it.
            self._changed = False
            give_back_freed_memory()
        try:
            # Not under the lock: it may take long.
            named = self._at.registry.aliases(self.name)
        except Exception as error:  # noqa: BLE001 - following must outlive every failure
            with self._changing:
                self._note_failure(_REGISTRY, stale_registry(self.name, error), error)
            self.restore()
            return
        with self._changing:
            if not self.state.in_use:
                return
            try:
                self._follow(named)
            except Exception as error:  # noqa: BLE001 - as above: the disk may be full
                self._note_failure(_LOOK, incomplete_look(self.name, error), error)
            else:
                self.state = self.state.clear(_LOOK)

    def restore(self) -> None:
        """Bring back from disk what served last, if nothing serves."""
        with self._changing:
            if self.state.in_use and self.state.champion is None:
                self._restore(self._at.files.last_good(self.name))

    def take_back(self) -> None:
        """Undo `take_out`, and forget refusals, so that the next look tries everything again."""
        with self._changing:
            self._lost.clear()
            self.state = replace(self.state, in_use=True, refusals={})
            if self.state.champion is None:
                self.state = self.state.trouble(_REGISTRY, not_looked_yet(self.name))

    def take_out(self) -> None:
        """Take the model out of service. Who holds a version can go on with it."""
        with self._changing:
            self._swap(ModelState(self.name, in_use=False))

    def add(self, version: ModelVersion) -> None:
        """Put a version into service beside those of the aliases, to be asked for by its number.

        Raises:
            ContractError: the version must not serve.
            RegistryUnreachableError: its files cannot be had.
        """
        with self._changing:
            self._swap(self.state.add(self._loaded(version)))

    def _follow(self, named: Mapping[str, NamedVersion]) -> None:
        for alias in SERVED_ALIASES:
            try:
                self._follow_alias(alias, named.get(alias))
            except Exception as error:  # noqa: BLE001 - one alias must not stop the others
                self._note_failure(alias, incomplete_look(self.name, error), error)
        # Last, so that nobody sees a moment in which nothing serves and nothing is wrong.
        self.state = self.state.clear(_REGISTRY)
        last_good = self._at.files.last_good(self.name)
        if self.state.champion is None and CHAMPION in last_good:
            self._restore({CHAMPION: last_good[CHAMPION]})
        self._check_features()
        self._tidy(named, last_good)

    def _follow_alias(self, alias: str, wanted: NamedVersion | None) -> None:
        current = self.state.by_alias.get(alias)
        refusal = self.state.refusals.get(alias)
        if wanted is None and alias == CHAMPION:
            # Somebody's slip must not end the service: `take_out` does, on purpose.
            self.state = self.state.forgive(alias)
            self._note(alias, nothing_registered(self.name))
        elif wanted is None:
            self._swap(self.state.settle(alias).drop(alias))
        elif current is not None and current.served.version == wanted.version:
            self.state = self.state.settle(alias).put(alias, current, wanted.tags)
        elif refusal is not None and self._still_refused(refusal, wanted.version):
            self.state = self.state.clear(alias)
        else:
            self._try(alias, wanted)

    def _try(self, alias: str, wanted: NamedVersion) -> None:
        version = wanted.version.version
        try:
            entry = self._loaded(wanted.version)
        except ContractError as error:
            mismatch = error if isinstance(error, FeatureMismatchError) else None
            self.state = self.state.refuse(alias, Refusal(wanted.version, error, mismatch))
            self._at.metrics.refused.labels(self.name).inc()
            log.error(  # noqa: TRY400 - the reason and its cause say more than a traceback
                "model_refused",
                model=self.name,
                alias=alias,
                version=version,
                reason=str(error),
                cause=_shown(error.__cause__),
            )
            return
        self._swap(self.state.settle(alias).put(alias, entry, wanted.tags))
        self._at.metrics.swaps.labels(self.name).inc()
        variant = entry.served.model.variant
        log.info("model_in_service", model=self.name, alias=alias, version=version, variant=variant)

    def _loaded(self, version: ModelVersion) -> InService:
        """Return a version ready to serve; one that serves already, as a challenger may, as is."""
        found = self.state.find(version)
        if found is not None:
            return found
        folder = self._at.files.fetch(version)
        served = load_served(
            version,
            folder,
            self._at.reader,
            self._at.bounds,
            lone_pass_threads=self._at.lone_pass_threads,
        )
        self._at.warm_up(served.service)
        return InService(served, Holder(served.model))

    def _restore(self, last_good: Mapping[str, NamedVersion]) -> None:
        refused = {refusal.version for refusal in self.state.refusals.values()}
        for alias, named in last_good.items():
            if named.version in self._lost | refused:
                continue
            try:
                entry = self._loaded(named.version)
            except ContractError as error:
                # Once: only the registry has other versions.
                self._lost.add(named.version)
                log.warning("last_good_version_lost", model=self.name, reason=str(error))
            except Exception as error:  # noqa: BLE001 - one version must not stop the others
                self._note_failure(alias, incomplete_look(self.name, error), error)
            else:
                self._swap(self.state.put(alias, entry, named.tags))
                self._at.metrics.swaps.labels(self.name).inc()
                log.warning(
                    "last_good_version_restored",
                    model=self.name,
                    alias=alias,
                    version=named.version.version,
                )

    def _still_refused(self, refusal: Refusal, wanted: ModelVersion) -> bool:
        """Tell whether trying the version again would end the same way."""
        if refusal.version != wanted:
            return False
        mismatch = refusal.mismatch
        if mismatch is None:
            return True
        return store_hash(self._at.reader, mismatch.feature_service) == mismatch.store_hash

    def _check_features(self) -> None:
        """Note which versions no longer find the features in the store that they were trained on.

        They go on serving, without features: an answer of a model that has learned to do without
        is better than none, and features that mean something else are worse than missing ones.
        """
        hashes: dict[str, str | None] = {}
        for holder, served in {e.holder: e.served for e in self.state.entries()}.items():
            manifest = served.model.manifest
            service = manifest.feature_service
            try:
                if service not in hashes:
                    # Once for all versions that read it: it costs Feast some milliseconds.
                    hashes[service] = store_hash(self._at.reader, service)
            except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
                self._note_failure(_FEATURE_STORE, incomplete_look(self.name, error), error)
                return
            found = hashes[service]
            matches = found == manifest.feature_hash
            mismatch = None if matches else FeatureMismatchError(manifest, found)
            if str(mismatch) != str(served.mismatch):
                self.state = self.state.mark(holder, mismatch)
                log.warning("feature_service_changed", model=self.name, mismatch=str(mismatch))
        self.state = self.state.clear(_FEATURE_STORE)

    def _tidy(
        self, named: Mapping[str, NamedVersion], last_good: Mapping[str, NamedVersion]
    ) -> None:
        """Remember on disk what serves, and delete the files of versions that nobody names."""
        # What did not load now may load after a restart.
        kept = {a: good for a, good in last_good.items() if a == CHAMPION or a in named}
        for alias, entry in self.state.by_alias.items():
            kept[alias] = NamedVersion(entry.served.version, entry.tags)
        if kept != last_good:
            self._at.files.remember(self.name, kept)
        in_service = {served.version for served in self.state.served}
        aliased = {known.version for known in (*named.values(), *kept.values())}
        self._at.files.prune(self.name, in_service | aliased)

    def _swap(self, state: ModelState) -> None:
        """Replace the state; what served and does no more is closed when nobody holds it."""
        before = self.state.holders()
        # The swap: one assignment, which a request sees either before or after.
        self.state = state
        for holder in before - state.holders():
            holder.retire()
        self._changed = self._changed or before != state.holders()

    def _note_failure(self, what: str, trouble: FtiError, error: Exception) -> None:
        self._at.metrics.poll_failures.labels(self.name).inc()
        self._note(what, trouble, error)

    def _note(self, what: str, trouble: FtiError, cause: Exception | None = None) -> None:
        if str(trouble) != str(self.state.troubles.get(what)):
            # Once, not at every look while it lasts. Failures that are known need no traceback.
            unforeseen = None if isinstance(cause, FtiError) else cause
            # Before the first model is there, having none is how it is, and no failure.
            is_failure = cause is not None or self.state.champion is not None
            log.log(
                logging.WARNING if is_failure else logging.INFO,
                "no_new_model",
                model=self.name,
                reason=str(trouble),
                cause=_shown(cause and cause.__cause__),
                exc_info=unforeseen,
            )
        self.state = self.state.trouble(what, trouble)


def _shown(cause: BaseException | None) -> str | None:
    return None if cause is None else repr(cause)[:500]
