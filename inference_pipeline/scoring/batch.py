"""Scoring a file: rows in, labels out, in chunks that are never done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question, RowError
from inference_pipeline.scoring.input_file import FIELDS, Row
from inference_pipeline.scoring.parts import SCHEMA, Parts
from shared.events import Identifier, Text
from shared.validation import first_error

_NOTHING: dict[str, Any] = dict.fromkeys(SCHEMA.names)


class Predictor(Protocol):
    """What scoring needs of the engine."""

    async def predict(self, questions: Sequence[Question], ask: Ask) -> Answer:
        """Return one prediction for each question, in their order, or why one has none."""


class TextToScore(BaseModel):
    """What a row must hold. The rules are those of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text
    subject_id: Identifier | None = None
    source_id: Identifier | None = None
    id: Identifier | None = None


@dataclass(frozen=True)
class Scorer:
    """Scores the rows of a file into parts."""

    predictor: Predictor
    ask: Ask
    """Names the version: all rows are scored by the same."""
    parts: Parts
    chunk_rows: int
    in_flight: int
    """Chunks scored at a time, so that no thread waits for reading or writing."""

    async def run(self, rows: Iterable[Row], on_chunk: Callable[[int], object]) -> None:
        """Score what is not done yet.

        Args:
            rows: all rows of the file, from the first.
            on_chunk: told how many rows a chunk has, when it is done or was done before.

        Raises:
            FtiError: the file cannot be read, or the engine cannot answer. Chunks that are done
                stay done.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._spread(_chunks(rows, self.chunk_rows), group, on_chunk)
        except BaseExceptionGroup as several:
            # The first stopped the others.
            raise several.exceptions[0] from None

    async def _spread(
        self,
        chunks: Iterator[list[Row]],
        group: asyncio.TaskGroup,
        on_chunk: Callable[[int], object],
    ) -> None:
        room = asyncio.Semaphore(self.in_flight)
        for number in count():
            await room.acquire()
            # Apart from the loop, because reading waits for the disk.
            chunk = await asyncio.to_thread(next, chunks, None)
            if chunk is None:
                return
            group.create_task(self._chunk(number, chunk, room, on_chunk))

    async def _chunk(
        self,
        number: int,
        rows: Sequence[Row],
        room: asyncio.Semaphore,
        on_chunk: Callable[[int], object],
    ) -> None:
        if not self.parts.has(number):
            scored = await self._score(rows)
            await asyncio.to_thread(self.parts.write, number, scored)
        on_chunk(len(rows))
        room.release()

    async def _score(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return a part's rows for some rows of the file."""
        scored = [{**_NOTHING, "line": row.line} for row in rows]
        questions: list[Question] = []
        asked: list[dict[str, Any]] = []
        for row, result in zip(rows, scored, strict=True):
            try:
                fields = _checked(row)
            except ValueError as error:
                result["rejected"] = str(error)
                continue
            result["id"] = fields.id
            questions.append(Question("", fields.text, fields.subject_id, fields.source_id))
            asked.append(result)
        if questions:
            answer = await self.predictor.predict(questions, self.ask)
            for result, prediction in zip(asked, answer.predictions, strict=True):
                result.update(_outcome(answer, prediction))
        return scored


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk


def _checked(row: Row) -> TextToScore:
    """Return the fields of a row, or raise ValueError with what is wrong with it."""
    if row.fields is None:
        raise ValueError(row.broken)
    fields = {name: _value(row.fields, name) for name in FIELDS}
    try:
        return TextToScore.model_validate(
            {name: value for name, value in fields.items() if value is not None}
        )
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise ValueError(f"{field}: expected {expected}, found {found}") from None


def _value(fields: Mapping[str, Any], name: str) -> object:
    """Return a value as a request would give it: blank ones are absent, ids are texts."""
    value = fields[name]
    if isinstance(value, str) and not value.strip():
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number and name != "text" else value


def _outcome(answer: Answer, prediction: Prediction | RowError) -> dict[str, Any]:
    if isinstance(prediction, RowError):
        return {"rejected": str(prediction.error)}
    return {
        "subject_id": prediction.subject_id,
        "source_id": prediction.source_id,
        "label": prediction.label,
        "labels": list(prediction.probabilities),
        "probabilities": list(prediction.probabilities.values()),
        "degraded": prediction.degraded,
        "model": answer.version.name,
        "version": answer.version.version,
        "variant": answer.variant,
    }
