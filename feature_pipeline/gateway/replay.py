"""Dead letters that are offered again, after the task file or they themselves were mended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from feature_pipeline.dead_letters import DeadLetter, DeadLetters, KeptLetter, Selection
from feature_pipeline.gateway.batch import Batch, Kind
from feature_pipeline.gateway.intake import Intake, Outcome, origin_of
from shared.errors import InputError

_PAGE = 100


@dataclass(frozen=True)
class ReplayReport:
    """What became of the letters that were offered again.

    Attributes:
        accepted: items that were appended to the log.
        duplicates: items that the log knew already.
        kept: letters that fail again, with the reason of today.
        left: letters of files, which are no posted items.
    """

    accepted: int = 0
    duplicates: int = 0
    kept: int = 0
    left: int = 0


class Replay:
    """Offers dead letters to the intake; what goes in is a dead letter no more.

    Interrupted at any point, it is run again: what the log took already is a duplicate then.
    """

    def __init__(self, intake: Intake, dead_letters: DeadLetters) -> None:
        self._intake = intake
        self._dead_letters = dead_letters

    def run(self, which: Selection) -> ReplayReport:
        """Offer letters again, oldest first: mentions, then labels, which may be about them.

        Raises:
            TurnedAwayError: the log takes nothing at the moment; the letters stay.
        """
        report = ReplayReport()
        kinds: tuple[Kind, ...] = get_args(Kind)
        for kind in kinds:
            for letter in self._letters(which):
                if letter.origin == origin_of(kind):
                    report = self._offer(kind, letter, report)
        posted = {origin_of(kind) for kind in kinds}
        left = sum(letter.origin not in posted for letter in self._letters(which))
        return replace(report, left=left)

    def run_edited(self, letter: KeptLetter, body: bytes) -> ReplayReport:
        """Offer a batch in the place of a letter, wherever the letter is from.

        Args:
            letter: goes when all items of the batch went in; stays as it is otherwise.
            body: as it would be posted: ``{"mentions": […]}`` or ``{"labels": […]}``.

        Raises:
            InputError: the body is no batch, or an item of it does not fit.
            TurnedAwayError: the log takes nothing at the moment.
        """
        batch = self._batch_of_any_kind(body)
        outcome = self._intake.offer(batch)
        if outcome.rejected:
            raise outcome.rejected[0].error
        self._dead_letters.replace(letter, [])
        return ReplayReport(outcome.accepted, outcome.duplicates)

    def _letters(self, which: Selection) -> Iterator[KeptLetter]:
        """Yield the letters that are there now; those that come meanwhile are not offered."""
        newest = self._dead_letters.read(1, which)
        last = 0
        while newest and (page := self._dead_letters.read_after(last, _PAGE, which)):
            for letter in page:
                if letter.id > newest[0].id:
                    return
                yield letter
            last = page[-1].id

    def _offer(self, kind: Kind, letter: KeptLetter, so_far: ReplayReport) -> ReplayReport:
        try:
            batch = self._batch_of(kind, letter.raw)
        except InputError as error:
            outcome, failed = Outcome(0, 0, []), [_failed(letter, str(error), letter.raw)]
        else:
            outcome = self._intake.offer(batch)
            failed = [
                _failed(letter, str(rejection.error), batch.raw(rejection.index))
                for rejection in outcome.rejected
            ]
        self._dead_letters.replace(letter, failed)
        return replace(
            so_far,
            accepted=so_far.accepted + outcome.accepted,
            duplicates=so_far.duplicates + outcome.duplicates,
            kept=so_far.kept + len(failed),
        )

    def _batch_of(self, kind: Kind, raw: bytes) -> Batch:
        """Return what a letter holds: a whole body, or one item of a batch."""
        try:
            return Batch.read(kind, raw, self._intake.max_batch)
        except InputError:
            body = b'{"%s": [%s]}' % (kind.encode(), raw)
            return Batch.read(kind, body, self._intake.max_batch)

    def _batch_of_any_kind(self, body: bytes) -> Batch:
        try:
            return Batch.read("mentions", body, self._intake.max_batch)
        except InputError:
            return Batch.read("labels", body, self._intake.max_batch)


def _failed(letter: DeadLetter, reason: str, raw: bytes) -> DeadLetter:
    """Return a letter with the reason for which it, or a part of it, fails today."""
    return DeadLetter(letter.origin, reason, raw, letter.received_at)
