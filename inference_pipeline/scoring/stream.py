"""Scoring mentions as they land in the feature store, and writing the predictions back to it.

Predictions and the position up to which mentions are scored are one commit. Whenever the process
is killed, the next one reads the position and goes on there: no mention is left out, none is scored
into the table twice.

A mention is scored with the features as they are online at that moment, which may count the mention
itself already.
"""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from inference_pipeline.engine.admission import DeadlineExceededError, OverloadedError
from inference_pipeline.engine.answer import Answer, Ask, Question, RowError
from inference_pipeline.features.join import utc_now
from inference_pipeline.prediction_log.rows import Answered, mention_rows, no_mention_rows
from inference_pipeline.prediction_log.table import PredictionStoreError, PredictionTable
from inference_pipeline.scoring.batch import Predictor
from inference_pipeline.scoring.mention_tail import (
    MentionSource,
    MentionSourceError,
    Position,
    StoredMention,
)
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError
from shared.errors import FtiError
from shared.logs import get_logger

log = get_logger(__name__)

_SECONDS_BETWEEN_WARNINGS = 10.0
_PASSING = (
    DeadlineExceededError,
    MentionSourceError,
    NoVersionError,
    OverloadedError,
    PredictionStoreError,
    UnknownModelError,  # the version was swapped out between being named and being asked
)
"""What goes away when it is tried again."""


class StreamScorer:
    """Follows the mentions for one model. One process at a time may do so."""

    def __init__(
        self,
        source: MentionSource,
        table: PredictionTable,
        predictor: Predictor,
        *,
        model: str,
        ask: Callable[[], Ask],
        batch_rows: int,
        poll: timedelta,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Read nothing yet.

        Args:
            source: the mentions.
            table: where predictions go.
            predictor: the engine.
            model: whose position is kept.
            ask: which version answers now; may raise NoVersionError.
            batch_rows: mentions scored and written at a time.
            poll: between two looks for new mentions.
            clock: tells when an answer was given.
        """
        self._source = source
        self._table = table
        self._predictor = predictor
        self._marks = (f"score-stream-{model}-version", f"score-stream-{model}-rows")
        self._ask = ask
        self._batch_rows = batch_rows
        self._poll = poll
        self._clock = clock
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS

    async def run(self, stop: asyncio.Event) -> None:
        """Score until told to stop; the batch in hand is finished then.

        Raises:
            LostMentionsError: mentions that were not scored are gone.
        """
        position: Position | None = None
        while not stop.is_set():
            before = position
            try:
                if position is None:
                    position = await asyncio.to_thread(self.begin)
                    log.info("scoring_after", version=position.version, rows=position.rows)
                position = await self.step(position)
            except _PASSING as error:
                # A commit may have succeeded though nobody was told: the table knows the position.
                position = None
                self._note_failure(error)
            if position is None or position == before:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._poll.total_seconds())

    def begin(self) -> Position:
        """Return where to go on; at the very first time, after the mentions that are there.

        Raises:
            MentionSourceError, PredictionStoreError: a table does not answer.
        """
        version, rows = (self._table.mark(name) for name in self._marks)
        if version is not None:
            return Position(version, rows or 0)
        position = self._source.end()
        # Written down before the first mention: what lands from now on is not left out.
        self._table.append(no_mention_rows(), self._at(position))
        return position

    async def step(self, position: Position) -> Position:
        """Score the next mentions, if there are any, and return the position after them."""
        mentions, after = await asyncio.to_thread(self._source.read, position, self._batch_rows)
        if not mentions:
            return after
        asked_at = self._clock()
        questions = [_question(mention) for mention in mentions]
        answer = await self._predictor.predict(questions, self._ask())
        _tell_unscored(mentions, answer)
        answered = Answered(answer, questions, asked_at, self._clock())
        rows = mention_rows(answered, [mention.mention_id for mention in mentions])
        await asyncio.to_thread(self._table.append, rows, self._at(after))
        log.debug("mentions_scored", rows=rows.num_rows, version=answer.version.version)
        return after

    def _at(self, position: Position) -> dict[str, int]:
        return dict(zip(self._marks, (position.version, position.rows), strict=True))

    def _note_failure(self, error: FtiError) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            cause = None if error.__cause__ is None else repr(error.__cause__)[:500]
            log.warning("mentions_not_scored_yet", reason=str(error), cause=cause)


def _question(mention: StoredMention) -> Question:
    # The engine normalises texts as they came, which decodes entities. This text is normalised:
    # encoded, it comes out of that as it is, and as the model was trained on it.
    text = html.escape(mention.text, quote=False)
    return Question("", text, mention.subject_id, mention.source_id)


def _tell_unscored(mentions: list[StoredMention], answer: Answer) -> None:
    for mention, prediction in zip(mentions, answer.predictions, strict=True):
        if isinstance(prediction, RowError):
            log.error(
                "mention_not_scored",
                mention_id=mention.mention_id,
                reason=str(prediction.error),
            )
