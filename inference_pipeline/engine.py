"""The engine: from mentions to predictions, whichever face the request came through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from inference_pipeline.champion import Champion
from inference_pipeline.features import Entity
from inference_pipeline.join import FeatureJoin, Joined, ViewState
from inference_pipeline.metrics import Metrics
from inference_pipeline.registry import ModelVersion
from inference_pipeline.watcher import ChampionWatcher
from shared.errors import InputError
from shared.features import join_key
from shared.text import normalise

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Question:
    """A mention to predict. Its place is where errors say it stands, such as ``mentions[3]``."""

    place: str
    text: str
    subject_id: str | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What the model says of one mention, and what it knew."""

    label: str
    probabilities: dict[str, float]
    subject_id: str
    source_id: str
    views: dict[str, ViewState]
    degraded: bool


@dataclass(frozen=True)
class Answer:
    """The predictions of one request. They all come from one version."""

    version: ModelVersion
    predictions: list[Prediction]


@dataclass(frozen=True)
class _Prepared:
    """Questions as the model and the feature store take them."""

    texts: list[str]
    subject_ids: list[str]
    source_ids: list[str]
    entities: list[Entity]


class Engine:
    """Predicts mentions with the champion. The event loop never waits for computation."""

    def __init__(
        self, watcher: ChampionWatcher, join: FeatureJoin, *, threads: int, metrics: Metrics
    ) -> None:
        self._watcher = watcher
        self._join = join
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="predict")

    async def predict(self, questions: Sequence[Question]) -> Answer:
        """Return one prediction for each question, in their order.

        Raises:
            NoChampionError: no version is in service.
            InputError: a text holds nothing to read.
        """
        champion = self._watcher.champion()
        prepared = await self._in_thread(_prepare, champion, questions)
        joined = await self._join.join(champion.service, prepared.entities)
        probabilities = await self._in_thread(
            champion.model.predict, prepared.texts, joined.features
        )
        self._metrics.mentions.inc(len(questions))
        if joined.degraded:
            self._metrics.degraded.inc()
        return _answer(champion, prepared, joined, probabilities.tolist())

    def close(self) -> None:
        """End the threads, when the last predictions are done."""
        self._threads.shutdown(wait=True)

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))


def _prepare(champion: Champion, questions: Sequence[Question]) -> _Prepared:
    manifest = champion.model.manifest
    texts, subject_ids, source_ids = [], [], []
    for question in questions:
        text = normalise(question.text)
        if not text:
            raise InputError(
                f"{question.place}.text".removeprefix("."),
                expected="a text with something to read",
                found="white space, control characters or nothing",
            )
        texts.append(text)
        # Rules read the text as it came, as they do when a mention is ingested.
        subject_ids.append(question.subject_id or manifest.subjects.resolve(question.text))
        source_ids.append(question.source_id or manifest.sources.resolve(question.text))
    keys = set(champion.service.join_keys.values())
    ids = {join_key("subject"): subject_ids, join_key("source"): source_ids}
    entities: list[Entity] = [{key: ids[key][row] for key in keys} for row in range(len(questions))]
    return _Prepared(texts, subject_ids, source_ids, entities)


def _answer(
    champion: Champion, prepared: _Prepared, joined: Joined, probabilities: list[list[float]]
) -> Answer:
    labels = champion.model.manifest.labels
    predictions = [
        Prediction(
            label=labels[max(range(len(labels)), key=row.__getitem__)],
            probabilities=dict(zip(labels, row, strict=True)),
            subject_id=subject_id,
            source_id=source_id,
            views=views,
            degraded=joined.degraded,
        )
        for row, subject_id, source_id, views in zip(
            probabilities, prepared.subject_ids, prepared.source_ids, joined.views, strict=True
        )
    ]
    return Answer(version=champion.version, predictions=predictions)
