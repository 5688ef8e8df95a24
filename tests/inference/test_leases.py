"""Random alias moves, broken versions, failing registries: what is leased is sound and open."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.versions.leases import Holder
from inference_pipeline.versions.loading import load_model
from inference_pipeline.versions.model import LoadedModel
from inference_pipeline.versions.registry import (
    InMemoryRegistry,
    ModelVersion,
    RegistryUnreachableError,
)
from inference_pipeline.versions.served import ServedVersion
from inference_pipeline.versions.traffic import SHARE_TAG
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError
from shared.errors import ContractError
from shared.feature_store import FeatureService
from tests.inference.registry_files import MODEL
from tests.inference.tiny_model import TinyModel
from tests.inference.versions_server import FailingRegistry, VersionsServer

SOUND = ("sound", "sound too", "sound again")
BROKEN = ("bytes", "golden answer", "features")
NUMBERS = st.sampled_from(["1", "2", "3", "4", "5"])
"""The last is of no version."""
ALIASES = st.sampled_from(["champion", "champion", "challenger", "shadow", "previous"])


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, feature_service: FeatureService
) -> dict[str, Path]:
    """The files of sound and of broken versions, by what they are."""
    folder = tmp_path_factory.mktemp("files")
    made = {
        "golden answer": TinyModel(golden_error=0.5),
        "features": TinyModel(feature_hash="0" * 64),
        "bytes": TinyModel(),
    } | {kind: TinyModel(bias=number) for number, kind in enumerate(SOUND)}
    written = {kind: model.write(folder / kind, feature_service) for kind, model in made.items()}
    with (written["bytes"] / "model.onnx").open("ab") as file:
        file.write(b"\0")
    return written


def check(served: ServedVersion, sound: set[ModelVersion]) -> None:
    """Fail unless a version is one that may serve, is open, and answers as its manifest says."""
    assert served.version in sound
    model = served.model
    assert not model.closed
    golden = model.manifest.golden
    scores = model.scores(model.encode([golden.text]), model.no_features(1))
    np.testing.assert_allclose(scores[0], golden.logits, rtol=1e-5)


class Leasing(RuleBasedStateMachine):
    """One thing after the other, with leases that are held across them."""

    def __init__(self, files: dict[str, Path], service: FeatureService) -> None:
        super().__init__()
        self.files = files
        self.service = service
        self.folder = tempfile.TemporaryDirectory()
        self.registry = FailingRegistry()
        self.reader = InMemoryFeatureReader(service)
        self.server = VersionsServer(self.registry, self.reader, Path(self.folder.name))
        self.versions = self.server.start()
        self.sound: set[ModelVersion] = set()
        self.held: list[tuple[ExitStack, ServedVersion]] = []
        self.seen: dict[int, LoadedModel] = {}

    @initialize(kinds=st.permutations([*SOUND[1:], *BROKEN]))
    def publish(self, kinds: list[str]) -> None:
        for kind in (SOUND[0], *kinds[:3]):
            version = self.registry.register(MODEL, self.files[kind])
            if kind in SOUND:
                self.sound.add(version)
        self.move("champion", "1")

    @rule(alias=ALIASES, number=NUMBERS)
    def move(self, alias: str, number: str) -> None:
        version = InMemoryRegistry.version(self.registry, MODEL, number)
        if version is None:
            self.registry.unpoint(MODEL, alias)
        else:
            self.registry.point(alias, version)
        self.versions.look()

    @rule(number=NUMBERS, share=st.sampled_from(["0", "0.5", "1", "much"]))
    def tag(self, number: str, share: str) -> None:
        version = InMemoryRegistry.version(self.registry, MODEL, number)
        if version is not None:
            self.registry.tag(version, SHARE_TAG, share)

    @rule(away=st.sampled_from(["nothing", "nothing", "artifacts", "all"]))
    def fail(self, away: str) -> None:
        self.registry.away = away == "all"
        self.registry.artifacts_away = away == "artifacts"

    @rule(there=st.sampled_from([True, True, False]))
    def change_features(self, *, there: bool) -> None:
        features = self.service.features if there else self.service.features[:1]
        self.reader.register(
            FeatureService(self.service.name, features, self.service.ttl, self.service.join_keys)
        )

    @rule(number=st.none() | NUMBERS)
    def load(self, number: str | None) -> None:
        try:
            self.versions.load(MODEL, number)
        except (NoVersionError, UnknownModelError, ContractError, RegistryUnreachableError):
            # As it may be: the invariants tell whether what serves is still sound.
            return

    @rule(back=st.booleans())
    def unload(self, *, back: bool) -> None:
        self.versions.unload(MODEL)
        if back:
            self.load(None)

    @rule()
    def restart(self) -> None:
        self.versions.close()
        self.versions = self.server.start()
        self.versions.look()

    @rule(number=st.none() | st.none() | NUMBERS, key=st.sampled_from("abcd"))
    def lease(self, number: str | None, key: str) -> None:
        lease = ExitStack()
        try:
            served = lease.enter_context(self.versions.lease(MODEL, number, key))
        except NoVersionError:
            assert not self.versions.state(MODEL).ready
        except UnknownModelError:
            assert number not in {v.version.version for v in self.versions.state(MODEL).served}
        else:
            assert number in {None, served.version.version}
            self.held.append((lease, served))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        lease, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        lease.close()

    @precondition(lambda self: self.registry.away)
    @rule()
    def go_on_without_the_registry(self) -> None:
        before = self.versions.state(MODEL).champion
        self.versions.look()
        after = self.versions.state(MODEL).champion
        assert before is None or (after is not None and after.version == before.version)

    @invariant()
    def what_serves_is_sound_and_open(self) -> None:
        for served in self.versions.state(MODEL).served:
            self.seen[id(served.model)] = served.model
            check(served, self.sound)

    @invariant()
    def what_is_leased_is_sound_and_open(self) -> None:
        for _, served in self.held:
            check(served, self.sound)

    @invariant()
    def what_nobody_holds_is_closed(self) -> None:
        used = [*self.versions.state(MODEL).served, *(served for _, served in self.held)]
        needed = {id(served.model) for served in used}
        assert all(model.closed for key, model in self.seen.items() if key not in needed)

    def teardown(self) -> None:
        self.versions.close()
        for lease, _ in self.held:
            lease.close()
        self.folder.cleanup()
        assert all(model.closed for model in self.seen.values())


def test_leases_hold_whatever_happens(
    files: dict[str, Path], feature_service: FeatureService
) -> None:
    """At every moment what serves or is leased is sound and open, and all else is closed."""

    class Machine(Leasing):
        def __init__(self) -> None:
            super().__init__(files, feature_service)

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=20, stateful_step_count=40, deadline=None, derandomize=True),
    )


def test_a_retired_version_is_lent_no_more(files: dict[str, Path]) -> None:
    """Who came too late is told to look again; who holds it keeps it open, each for himself."""
    holder = Holder(load_model(files[SOUND[0]]))
    assert holder.take()
    assert holder.take()
    holder.retire()
    assert not holder.take()
    holder.give_back()
    assert not holder.model.closed
    holder.give_back()
    assert holder.model.closed


def test_hundreds_of_swaps_under_leases(
    files: dict[str, Path],
    reader: InMemoryFeatureReader,
    tmp_path: Path,
) -> None:
    """Threads that lease all the time always get an open version, and each is closed in the end."""
    registry = FailingRegistry()
    registered = [registry.register(MODEL, files[kind]) for kind in SOUND]
    registry.point("champion", registered[0])
    versions = VersionsServer(registry, reader, tmp_path / "models").start()
    versions.look()
    done = threading.Event()
    failures: list[BaseException] = []
    leased: dict[int, LoadedModel] = {}
    rounds = count()

    def lease_on() -> None:
        try:
            while not done.is_set():
                with versions.lease(MODEL) as served:
                    leased[id(served.model)] = served.model
                    check(served, set(registered))
                next(rounds)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=lease_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(300):
        registry.point("champion", registered[(swap + 1) % len(registered)])
        versions.look()
    done.set()
    for thread in threads:
        thread.join()
    versions.close()
    assert failures == []
    assert next(rounds) > 300
    assert len(leased) > 30
    assert all(model.closed for model in leased.values())
