"""What happens to a posted batch: each item is accepted, a duplicate, or rejected with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from feature_pipeline.admission import Admission
from feature_pipeline.dead_letters import DeadLetter, DeadLetters
from feature_pipeline.eventlog.port import EventLog
from shared.errors import InputError
from shared.events import Label, Mention
from shared.task import Task
from shared.validation import printable, shown

Kind = Literal["mentions", "labels"]


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
        self._max_batch = max_batch
        admission = Admission(task)
        self._admit: dict[Kind, Callable[[str, object], Mention | Label]] = {
            "mentions": admission.mention,
            "labels": admission.label,
        }

    def take(self, kind: Kind, body: bytes) -> Outcome:
        """Take a batch ``{"mentions": […]}`` or ``{"labels": […]}``.

        All items that fit are appended in one transaction, on disk when this returns.

        Raises:
            InputError: the body is no such batch; it is kept as a dead letter.
        """
        try:
            items = self._items(kind, body)
        except InputError as error:
            self._keep(kind, [(str(error), body)])
            raise
        events: list[tuple[int, Mention | Label]] = []
        rejected: list[Rejection] = []
        for index, item in enumerate(items):
            try:
                events.append((index, self._admit[kind](f"{kind}[{index}]", item)))
            except InputError as error:
                rejected.append(Rejection(index, _mention_id(item), error))
        receipts = self._log.append([event for _, event in events])
        statuses = [receipt.status for receipt in receipts]
        for (index, event), receipt in zip(events, receipts, strict=True):
            if receipt.error is not None:
                placed = receipt.error.within(f"{kind}[{index}]")
                rejected.append(Rejection(index, event.mention_id, placed))
        self._keep(
            kind,
            [
                (str(rejection.error), json.dumps(items[rejection.index]).encode())
                for rejection in rejected
            ],
        )
        return Outcome(
            accepted=statuses.count("accepted"),
            duplicates=statuses.count("duplicate"),
            rejected=sorted(rejected, key=lambda rejection: rejection.index),
        )

    def _items(self, kind: Kind, body: bytes) -> list[Any]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError("body", expected="a JSON document", found=str(error)[:200]) from None
        if not isinstance(document, dict) or set(document) != {kind}:
            found = (
                f"an object with the fields {sorted(document)}"
                if isinstance(document, dict)
                else shown(document)
            )
            raise InputError("body", expected=f'an object {{"{kind}": […]}}', found=found)
        items = document[kind]
        if not isinstance(items, list) or not 1 <= len(items) <= self._max_batch:
            found = f"{len(items)} items" if isinstance(items, list) else shown(items)
            raise InputError(
                f"body, {kind}",
                expected=f"a list of 1 to {self._max_batch} items",
                found=found,
            )
        return items

    def _keep(self, kind: Kind, rejected: list[tuple[str, bytes]]) -> None:
        if rejected:
            now = datetime.now(UTC)
            self._dead_letters.add(
                [DeadLetter(f"POST /v1/{kind}", reason, raw, now) for reason, raw in rejected]
            )


def _mention_id(item: object) -> str | None:
    found = item.get("mention_id") if isinstance(item, dict) else None
    return printable(found) if isinstance(found, str) else None
