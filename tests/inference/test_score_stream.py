"""Scoring mentions as they land: each once, whatever happens to the process or the table."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question
from inference_pipeline.prediction_log.table import (
    DeltaPredictionTable,
    InMemoryPredictionTable,
    PredictionStoreError,
)
from inference_pipeline.scoring.mention_tail import (
    DeltaMentionSource,
    LostMentionsError,
    MentionSource,
    Position,
    StoredMention,
)
from inference_pipeline.scoring.stream import StreamScorer
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.versions import NoVersionError
from shared.feature_store import read_feature_service
from shared.features import MENTION_TEXT
from shared.places import offline_folder
from shared.predictions import MENTION_PREDICTION
from shared.text import normalise
from tests.inference.conftest import eventually
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.server_process import command
from tests.inference.task_store import land, open_task_store, texts, written
from tests.inference.tiny_model import TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

POLL = timedelta(milliseconds=1)


class MentionList:
    """Mentions in lists, one list a version."""

    def __init__(self) -> None:
        self.versions: list[list[str]] = [[]]

    def end(self) -> Position:
        return Position(len(self.versions) - 1)

    def read(self, after: Position, limit: int) -> tuple[list[StoredMention], Position]:
        ids = self.versions[after.version + 1 :]
        if not ids:
            return [], after
        found = ids[0][after.rows : after.rows + limit]
        whole = after.rows + len(found) == len(ids[0])
        place = (
            Position(after.version + 1) if whole else Position(after.version, after.rows + limit)
        )
        return [StoredMention(name, "united", "ann", f"text {name}") for name in found], place


class Echo:
    """A predictor whose label is the text as a model would read it."""

    async def predict(self, questions: Sequence[Question], ask: Ask) -> Answer:
        del ask
        predictions = [
            Prediction(
                normalise(question.text),
                {"yes": 1.0},
                question.subject_id or "",
                question.source_id or "",
                features={},
                views={},
                degraded=False,
            )
            for question in questions
        ]
        return Answer(ModelVersion(MODEL, "1", 0), None, "fp32", [*predictions])


def scorer(
    source: MentionSource, table: InMemoryPredictionTable | DeltaPredictionTable, rows: int = 3
) -> StreamScorer:
    return StreamScorer(source, table, Echo(), model=MODEL, ask=Ask, batch_rows=rows, poll=POLL)


def score_all(of: StreamScorer, source: MentionSource) -> None:
    """Score until there is nothing left."""

    async def steps() -> None:
        position = of.begin()
        while (after := await of.step(position)) != position:
            position = after
        assert position == source.end()

    asyncio.run(steps())


def labels(home: Path) -> dict[str, str]:
    """Return the label of each mention that has one; none has two."""
    rows = written(home, MENTION_PREDICTION)
    assert rows["mention_id"].is_unique().all()
    return dict(rows.select("mention_id", "label").rows())


@pytest.fixture
def task_store(tmp_path: Path) -> FeatureStore:
    return open_task_store(tmp_path / "home")


@pytest.fixture
def source(task_store: FeatureStore) -> DeltaMentionSource:
    return DeltaMentionSource(task_store)


@pytest.fixture
def table(task_store: FeatureStore) -> DeltaPredictionTable:
    return DeltaPredictionTable(task_store, MENTION_PREDICTION)


def test_what_landed_since_the_first_start_is_scored(
    tmp_path: Path, source: DeltaMentionSource, table: DeltaPredictionTable
) -> None:
    """History is not new; what lands afterwards is, even while nobody scores."""
    home = tmp_path / "home"
    land(home, texts(range(5)))
    scorer(source, table).begin()
    land(home, texts(range(5, 8)))
    land(home, texts(range(8, 20)))
    score_all(scorer(source, table), source)
    assert labels(home) == texts(range(5, 20))


def test_rewritten_rows_are_not_new(
    tmp_path: Path, source: DeltaMentionSource, table: DeltaPredictionTable
) -> None:
    """A compaction adds no mention, and a backfill replaces history: neither is scored."""
    home = tmp_path / "home"
    scorer(source, table).begin()
    land(home, texts(range(4)))
    land(home, texts(range(4, 6)))
    compacted = DeltaTable(str(offline_folder(home) / MENTION_TEXT)).optimize.compact()
    assert compacted["numFilesRemoved"] == 2
    land(home, texts(range(100, 150)), mode="overwrite")
    land(home, texts(range(6, 8)))
    score_all(scorer(source, table), source)
    assert labels(home) == texts(range(8))


def test_a_large_commit_is_taken_in_bounded_batches(
    tmp_path: Path, source: DeltaMentionSource, table: DeltaPredictionTable
) -> None:
    """No batch is larger than asked for, and many small commits make one batch."""
    home = tmp_path / "home"
    start = source.end()
    land(home, texts(range(10)))
    for number in range(10, 16):
        land(home, texts([number]))
    sizes, position = [], start
    while True:
        mentions, position = source.read(position, 4)
        if not mentions:
            break
        sizes.append(len(mentions))
    assert sizes == [4, 4, 4, 4]
    assert position == source.end()
    del table


def test_a_text_reaches_the_model_as_it_is_stored(
    tmp_path: Path, source: DeltaMentionSource, table: DeltaPredictionTable
) -> None:
    """A stored text is normalised already: what looks like an entity in it stays."""
    home = tmp_path / "home"
    scorer(source, table).begin()
    stored = {"m": normalise("5 &amp;lt; 6 &amp;amp; more")}
    assert stored == {"m": "5 &lt; 6 &amp; more"}
    land(home, stored)
    score_all(scorer(source, table), source)
    assert labels(home) == stored


def test_mentions_that_are_gone_stop_the_scoring(
    tmp_path: Path, task_store: FeatureStore, source: DeltaMentionSource
) -> None:
    """A table that begins anew, or whose log was cut, is refused, not skipped."""
    home = tmp_path / "home"
    with pytest.raises(LostMentionsError, match="another table in its place"):
        source.read(Position(99), 10)
    start = source.end()
    for number in range(3):
        land(home, texts([number]))
    table = DeltaTable(str(offline_folder(home) / MENTION_TEXT))
    table.create_checkpoint()
    log = offline_folder(home) / MENTION_TEXT / "_delta_log"
    (log / f"{start.version + 1:020d}.json").unlink()
    with pytest.raises(LostMentionsError, match=f"version {start.version + 1} in its log"):
        DeltaMentionSource(task_store).read(start, 10)


class Shaky(InMemoryPredictionTable):
    """A table that fails as told: before it wrote, or after."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__()
        self._failures = failures

    def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
        failure = self._failures.pop() if self._failures else ""
        if failure == "before":
            raise PredictionStoreError("store", expected="an answer", found="none")
        super().append(rows, marks)
        if failure == "after":
            raise PredictionStoreError("store", expected="an answer", found="none in time")

    def mentions(self) -> list[str]:
        return [name for rows in self.commits for name in rows["mention_id"].to_pylist()]


@given(
    versions=st.lists(st.integers(0, 8), max_size=6),
    failures=st.lists(st.sampled_from(["before", "after", ""]), max_size=12),
    batch_rows=st.integers(1, 5),
)
def test_however_the_store_fails_each_mention_is_scored_once(
    versions: list[int], failures: list[str], batch_rows: int
) -> None:
    """Commits that fail, and commits that nobody was told of, lose and double nothing."""
    source, table = MentionList(), Shaky(list(failures))

    async def follow() -> None:
        running = asyncio.create_task(
            scorer(source, table, batch_rows).run(stop := asyncio.Event())
        )
        while table.mark(f"score-stream-{MODEL}-version") is None:
            await asyncio.sleep(0)
        for number, size in enumerate(versions):
            source.versions.append([f"m{number}-{row}" for row in range(size)])
        total = sum(versions)
        while len(table.mentions()) < total:
            await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(follow(), 20))
    assert table.mentions() == [name for version in source.versions for name in version]


def test_without_a_champion_it_waits(tmp_path: Path) -> None:
    """Mentions that land before a version serves are scored when one does."""
    del tmp_path
    source, table = MentionList(), InMemoryPredictionTable()
    refusals = 3

    def ask() -> Ask:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise NoVersionError("model", expected="a champion", found="none")
        return Ask(version="1")

    async def follow() -> None:
        of = StreamScorer(source, table, Echo(), model=MODEL, ask=ask, batch_rows=9, poll=POLL)
        running = asyncio.create_task(of.run(stop := asyncio.Event()))
        while not table.commits:
            await asyncio.sleep(0)
        source.versions.append(["a", "b"])
        while len(table.commits) < 2:
            await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(follow(), 20))
    assert table.commits[-1]["mention_id"].to_pylist() == ["a", "b"]


@contextmanager
def scoring(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the context ends; it is killed then."""
    process = command(
        "score-stream",
        FTI_HOME=str(home),
        FTI_INFERENCE_MODEL=MODEL,
        FTI_INFERENCE_POLL_SECONDS="0.05",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(240)
def test_killed_at_random_moments_it_scores_each_mention_once(home: Path) -> None:
    """After kill -9 amid scoring and writing, predictions are the mentions, none twice."""
    service = read_feature_service(open_task_store(home), MODEL)
    Publisher(home, service).publish(TinyModel())
    table = str(offline_folder(home) / MENTION_PREDICTION)
    generator = random.Random(5)  # noqa: S311 - moments of a test
    landed = 0
    for _ in range(4):
        with scoring(home):
            # The first notes where it begins: from there on nothing may be left out.
            eventually(lambda: DeltaTable(table).version(), bool)
            before = written(home, MENTION_PREDICTION).height
            for size in (700, 20, 1_300):
                land(home, texts(range(landed, landed + size)))
                landed += size
            eventually(lambda: written(home, MENTION_PREDICTION).height, partial(lt, before))
            time.sleep(generator.uniform(0, 0.15))  # the moment of the kill, not a wait
    with scoring(home) as process:
        # Something for the last one, or it would be stopped while it still starts.
        land(home, texts(range(landed, landed + 20)))
        landed += 20
        eventually(lambda: written(home, MENTION_PREDICTION).height, lambda rows: rows == landed)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
    rows = written(home, MENTION_PREDICTION)
    assert sorted(rows["mention_id"]) == sorted(texts(range(landed)))
    assert rows["mention_id"].is_unique().all()
    assert set(rows["version"]) == {"1"}
