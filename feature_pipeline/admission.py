"""What may become a mention or a label: one rule for files and for requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from shared.errors import InputError
from shared.events import Event, Label, Mention
from shared.task import Task
from shared.validation import first_error

E = TypeVar("E", bound=Event)


class Admission:
    """Turns the fields of a row or of a posted item into an event of the task, or says why not."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def mention(self, place: str, fields: object) -> Mention:
        """Return a mention. An absent subject or source is read off the text by the task's rules.

        Raises:
            InputError: a field is absent, unknown, of a wrong type or out of range.
        """
        given = {
            name: value for name, value in _as_mapping(place, fields).items() if value is not None
        }
        text = given.get("text")
        read_off = text if isinstance(text, str) else ""
        given.setdefault("subject_id", self._task.subjects.resolve(read_off))
        given.setdefault("source_id", self._task.sources.resolve(read_off))
        return _validated(Mention, place, given)

    def label(self, place: str, fields: object) -> Label:
        """Return a label of the task.

        Raises:
            InputError: a field does not fit, or the task has no such label.
        """
        label = _validated(Label, place, _as_mapping(place, fields))
        if label.label not in self._task.labels:
            raise InputError(
                f"{place}, label",
                expected=f"one of {', '.join(self._task.labels)}",
                found=repr(label.label),
            )
        return label


def _as_mapping(place: str, fields: object) -> Mapping[str, object]:
    if isinstance(fields, Mapping):
        return fields
    raise InputError(place, expected="an object with named fields", found=type(fields).__name__)


def _validated(kind: type[E], place: str, fields: Mapping[str, object]) -> E:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise InputError(f"{place}, {field}", expected=expected, found=found) from error
