"""The versions in service: those that the aliases of several models name, lent to requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from inference_pipeline.versions.followed import FollowedModel
from inference_pipeline.versions.metrics import VersionLabels
from inference_pipeline.versions.registry import CHALLENGER, SHADOW
from inference_pipeline.versions.served import ServedVersion
from inference_pipeline.versions.state import InService, ModelState
from inference_pipeline.versions.surroundings import Surroundings
from inference_pipeline.versions.traffic import goes_to_challenger
from shared.errors import StateError
from shared.manifest import CHAMPION

_STOP_SECONDS = 10.0
_PATIENCE = timedelta(seconds=5)


class NoVersionError(StateError):
    """The model has no version in service."""


class UnknownModelError(StateError):
    """There is no such model or version in this server."""


class Versions:
    """Follows several models, each in a thread of its own, and lends their versions."""

    def __init__(
        self,
        names: Sequence[str],
        surroundings: Surroundings,
        *,
        poll: timedelta,
        patience: timedelta = _PATIENCE,
    ) -> None:
        """Start nothing yet.

        Args:
            names: the registered models, one or more; the first is the default.
            surroundings: what following them needs.
            poll: between two looks at the registry.
            patience: how long the registry may take at the start before the versions that served
                last are brought back from disk.
        """
        self.default = names[0]
        self._registry = surroundings.registry
        self._followed = {name: FollowedModel(name, surroundings) for name in names}
        self._poll = poll
        self._patience = patience
        self._stopping = threading.Event()
        surroundings.metrics.follow(names)
        surroundings.metrics.show(self._labels)
        # Daemons, so that a hanging download cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=self._follow, args=(model,), name=f"follow-{name}", daemon=True)
            for name, model in self._followed.items()
        ]

    @contextmanager
    def lease(
        self, model: str | None = None, version: str | None = None, key: str = ""
    ) -> Iterator[ServedVersion]:
        """Lend a version: it is not closed before the block is left.

        Args:
            model: the model's name; the default model if None.
            version: its number; if None the champion, or the challenger for its share of keys.
            key: what the split between the two is sticky on.

        Raises:
            UnknownModelError: no such model is followed, or no such version serves.
            NoVersionError: the model has no version in service; the message says why.
        """
        followed = self._find(model)
        while True:
            entry = _chosen(followed.state, version, key)
            # False: retired since the state was read, so a newer state is there.
            if entry.holder.take():
                break
        with entry.holder.held():
            yield entry.served

    def shadow(self, model: str | None = None) -> ServedVersion | None:
        """Return the version that runs for comparison only; lease it by its number to run it."""
        found = self._find(model).state.by_alias.get(SHADOW)
        return None if found is None else found.served

    def state(self, model: str | None = None) -> ModelState:
        """Return what is known of a model.

        Raises:
            UnknownModelError: no such model is followed.
        """
        return self._find(model).state

    def models(self) -> list[ModelState]:
        """Return what is known of each model, the default first."""
        return [followed.state for followed in self._followed.values()]

    def look(self) -> None:
        """Look at the registry once, now, for all models; what went wrong stands in their state."""
        for followed in self._followed.values():
            followed.look()

    def load(self, model: str, version: str | None = None) -> ModelState:
        """Ask the registry again now, and put a model, or one more version of it, into service.

        It takes as long as the registry, the download and the checks do.

        Raises:
            UnknownModelError: no such model is followed, or it has no such version.
            NoVersionError: the model has no champion that may serve; the message says why.
            ContractError: the version that was asked for may not serve.
            RegistryUnreachableError: the registry did not give the version that was asked for.
        """
        followed = self._find(model)
        followed.take_back()
        followed.look()
        if version is not None:
            found = self._registry.version(model, version)
            if found is None:
                raise UnknownModelError(
                    f"model {model}, version",
                    expected="a registered version",
                    found=repr(version[:80]),
                    remedy="Name one that the model registry lists.",
                )
            followed.add(found)
        elif followed.state.champion is None:
            raise _nothing_serves(followed.state)
        return followed.state

    def unload(self, model: str) -> None:
        """Take a model out of service until it is loaded again.

        Raises:
            UnknownModelError: no such model is followed.
        """
        self._find(model).take_out()

    @property
    def ready(self) -> bool:
        """Whether every model answers that was not taken out of service, and one is left."""
        wanted = [state for state in self.models() if state.in_use]
        return self.alive and bool(wanted) and all(state.ready for state in wanted)

    @property
    def alive(self) -> bool:
        """Whether all models are being followed."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start to follow the models."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop to follow the models; their versions stay in service."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_STOP_SECONDS)

    def close(self) -> None:
        """Take all models out of service; versions that are lent are closed when given back."""
        for followed, thread in zip(self._followed.values(), self._threads, strict=True):
            # One that did not stop hangs in a download, and would be waited for in vain.
            if not thread.is_alive():
                followed.take_out()

    def _labels(self) -> Iterator[VersionLabels]:
        for state in self.models():
            for served in state.served:
                version, alias = served.version.version, served.alias or ""
                yield VersionLabels(state.name, version, alias, served.model.variant)

    def _find(self, model: str | None) -> FollowedModel:
        name = self.default if model is None else model
        if name not in self._followed:
            raise UnknownModelError(
                "model",
                expected=f"one of {', '.join(self._followed)}",
                found=repr(name[:80]),
            )
        return self._followed[name]

    def _follow(self, followed: FollowedModel) -> None:
        # A registry that hangs must not delay a restart for long.
        fallback = threading.Timer(self._patience.total_seconds(), followed.restore)
        fallback.daemon = True
        fallback.start()
        followed.look()
        fallback.cancel()
        while not self._stopping.wait(self._poll.total_seconds()):
            followed.look()


def _chosen(state: ModelState, version: str | None, key: str) -> InService:
    if version is not None:
        for entry in state.entries():
            if entry.served.version.version == version:
                return entry
        if not state.in_use:
            raise _nothing_serves(state)
        raise UnknownModelError(
            f"model {state.name}, version",
            expected=_in_service(state),
            found=repr(version[:80]),
            remedy="POST /v2/repository/models/{model}/load puts one into service.",
        )
    champion = state.by_alias.get(CHAMPION)
    if champion is None:
        raise _nothing_serves(state)
    challenger = state.by_alias.get(CHALLENGER)
    if challenger is None or not state.share:
        return champion
    experiment = f"{state.name}:{challenger.served.version.version}"
    wins = goes_to_challenger(key, state.share, experiment=experiment)
    return challenger if wins else champion


def _in_service(state: ModelState) -> str:
    numbers = dict.fromkeys(served.version.version for served in state.served)
    return f"a version in service ({', '.join(numbers) or 'there is none'})"


def _nothing_serves(state: ModelState) -> NoVersionError:
    problems = state.problems()
    if problems:
        why = problems[0]
        return NoVersionError(why.place, expected=why.expected, found=why.found, remedy=why.remedy)
    return NoVersionError(
        f"model {state.name}",
        expected="a model in service",
        found="one that was taken out of it" if not state.in_use else "no version",
        remedy="POST /v2/repository/models/{model}/load puts it back.",
    )
