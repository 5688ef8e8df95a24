"""What happens to a posted batch: each item is accepted, a duplicate, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from feature_pipeline.admission import Admission
from feature_pipeline.dead_letters import DeadLetter, DeadLetters, DeadLettersFullError
from feature_pipeline.eventlog.port import EventLog, LogUnavailableError
from feature_pipeline.gateway.batch import Batch, Kind
from feature_pipeline.gateway.refusal import dead_letters_full, log_unavailable
from shared.errors import InputError
from shared.events import Label, Mention
from shared.logs import get_logger
from shared.task import Task
from shared.validation import printable

_log = get_logger(__name__)


@dataclass(frozen=True)
class Rejection:
    """An item that was not taken, by its place in the batch."""

    index: int
    mention_id: str | None
    error: InputError


@dataclass(frozen=True)
class Outcome:
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]


class Intake:
    """Checks posted batches, appends what fits, keeps what does not as dead letters."""

    def __init__(
        self, task: Task, log: EventLog, dead_letters: DeadLetters, max_batch: int
    ) -> None:
        self._log = log
        self._dead_letters = dead_letters
        self.max_batch = max_batch
        admission = Admission(task)
        self._admit: dict[Kind, Callable[[str, object], Mention | Label]] = {
            "mentions": admission.mention,
            "labels": admission.label,
        }

    def read(self, kind: Kind, body: bytes) -> Batch:
        """Take a body apart.

        Raises:
            InputError: the body is no batch; it is kept as a dead letter.
            TurnedAwayError: it is none, and there is no room to keep it.
        """
        try:
            return Batch.read(kind, body, self.max_batch)
        except InputError as error:
            self._keep([_letter(kind, error, body)])
            raise

    def take(self, batch: Batch) -> Outcome:
        """Append all items that fit in one transaction, on disk when this returns; keep the others.

        Whoever gets an error may send the batch again: no item is counted twice. When there is no
        room for what does not fit, nothing is appended, as far as that is known before: labels of
        unknown mentions are found by the log, and others may take the room meanwhile.

        Raises:
            TurnedAwayError: the log does not take the events, or there is no room for what does
                not fit.
        """
        outcome = self.offer(batch, check_room=True)
        self._keep(_letters(batch, outcome.rejected))
        return outcome

    def offer(self, batch: Batch, *, check_room: bool = False) -> Outcome:
        """Append all items that fit, as ``take`` does, and only tell of the others.

        Args:
            batch: the items.
            check_room: append nothing when there is no room to keep the items that, before the
                log is asked, do not fit.

        Raises:
            TurnedAwayError: as ``take`` does.
        """
        events: list[tuple[int, Mention | Label]] = []
        rejected: list[Rejection] = []
        for index, item in enumerate(batch.items):
            try:
                events.append((index, self._admit[batch.kind](f"{batch.kind}[{index}]", item)))
            except InputError as error:
                rejected.append(Rejection(index, _mention_id(item), error))
        if check_room and not self._dead_letters.has_room(_letters(batch, rejected)):
            raise dead_letters_full()
        try:
            receipts = self._log.append([event for _, event in events])
        except LogUnavailableError as error:
            _log.warning("the log took no events", error=str(error))
            raise log_unavailable() from None
        statuses = [receipt.status for receipt in receipts]
        for (index, event), receipt in zip(events, receipts, strict=True):
            if receipt.error is not None:
                placed = receipt.error.within(f"{batch.kind}[{index}]")
                rejected.append(Rejection(index, event.mention_id, placed))
        return Outcome(
            accepted=statuses.count("accepted"),
            duplicates=statuses.count("duplicate"),
            rejected=sorted(rejected, key=lambda rejection: rejection.index),
        )

    def _keep(self, letters: list[DeadLetter]) -> None:
        if not letters:
            return
        try:
            self._dead_letters.add(letters)
        except DeadLettersFullError as error:
            _log.error("no room for dead letters", error=str(error))
            raise dead_letters_full() from None


def origin_of(kind: Kind) -> str:
    """Return what a dead letter of a posted batch names as its origin."""
    return f"POST /v1/{kind}"


def _letters(batch: Batch, rejected: list[Rejection]) -> list[DeadLetter]:
    return [_letter(batch.kind, item.error, batch.raw(item.index)) for item in rejected]


def _letter(kind: Kind, error: InputError, raw: bytes) -> DeadLetter:
    return DeadLetter(origin_of(kind), str(error), raw, datetime.now(UTC))


def _mention_id(item: object) -> str | None:
    found = item.get("mention_id") if isinstance(item, dict) else None
    return printable(found) if isinstance(found, str) else None
