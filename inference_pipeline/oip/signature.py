"""The tensors that every model here takes and gives: requests to questions, answers to outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from inference_pipeline.engine.answer import Prediction, Question
from inference_pipeline.oip.envelope import Column, no_shared_memory
from inference_pipeline.oip.schemas import RequestedOutput
from inference_pipeline.oip.tensors import Datatype, Tensor
from shared.errors import InputError
from shared.events import Identifier
from shared.text import MAX_TEXT_CHARS
from shared.validation import first_error, printable

TEXT, SUBJECT, SOURCE = "TEXT", "SUBJECT", "SOURCE"
INPUTS = (TEXT, SUBJECT, SOURCE)
"""BYTES [rows] or [rows, 1]. Only TEXT must come; an empty SUBJECT or SOURCE is one not given."""

LABEL, PROBABILITIES = "LABEL", "PROBABILITIES"

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


@dataclass(frozen=True)
class Output:
    """An output with one value per row."""

    datatype: Datatype
    value: Callable[[Prediction], str | bool]


def _features(row: Prediction) -> str:
    """Return, as JSON, what was known of each feature view."""
    states = {
        view: {"status": state.status, "age_seconds": state.age_seconds}
        for view, state in row.views.items()
    }
    return json.dumps(states, separators=(",", ":"))


OUTPUTS: Mapping[str, Output | None] = {
    LABEL: Output("BYTES", lambda row: row.label),
    PROBABILITIES: None,
    "SUBJECT_ID": Output("BYTES", lambda row: row.subject_id),
    "SOURCE_ID": Output("BYTES", lambda row: row.source_id),
    "FEATURES": Output("BYTES", _features),
    "DEGRADED": Output("BOOL", lambda row: row.degraded),
}
"""All of them, in order. PROBABILITIES alone has a value per row and label: FP32 [rows, labels]."""


def questions(columns: Mapping[str, Column], max_rows: int) -> list[Question]:
    """Return what a request asks the engine.

    Raises:
        InputError: an input is missing, unknown or of another shape, or a row does not fit.
    """
    for name in columns:
        if name not in INPUTS:
            raise InputError(
                f"input {printable(name)}",
                expected=f"inputs among {', '.join(INPUTS)}",
                found="an unknown name",
            )
    if TEXT not in columns:
        raise InputError("inputs", expected=f"an input {TEXT}", found="none of that name")
    rows = columns[TEXT].shape[0] if columns[TEXT].shape else 0
    for name, column in columns.items():
        _check_shape(name, column.shape, rows)
    if not 0 < rows <= max_rows:
        raise InputError(f"input {TEXT}", expected=f"1 to {max_rows} rows", found=str(rows))
    nothing = [""] * rows
    subjects, sources = (
        columns[name].texts if name in columns else nothing for name in (SUBJECT, SOURCE)
    )
    return [
        Question(
            f"{TEXT}[{row}]",
            _text(row, columns[TEXT].texts[row]),
            _identifier(f"{SUBJECT}[{row}]", subjects[row]),
            _identifier(f"{SOURCE}[{row}]", sources[row]),
        )
        for row in range(rows)
    ]


def check_requested(outputs: Sequence[RequestedOutput]) -> None:
    """Raise InputError unless every output that is asked for can be given."""
    seen: set[str] = set()
    for wanted in outputs:
        place = f"output {printable(wanted.name)}"
        if wanted.name not in OUTPUTS:
            raise InputError(
                place, expected=f"outputs among {', '.join(OUTPUTS)}", found="an unknown name"
            )
        if wanted.name in seen:
            raise InputError(place, expected="each output once", found="it twice")
        seen.add(wanted.name)
        if wanted.parameters.shared_memory_region is not None:
            raise no_shared_memory(place)
        if wanted.parameters.classification and wanted.name != PROBABILITIES:
            raise InputError(
                place, expected=f"classification of {PROBABILITIES} only", found="it asked for here"
            )


def tensors(rows: Sequence[Prediction], requested: Sequence[RequestedOutput]) -> list[Tensor]:
    """Return the outputs of B predictions: those that were requested, or all."""
    if not requested:
        return [_tensor(name, rows) for name in OUTPUTS]
    return [
        _classes(rows, wanted.parameters.classification)
        if wanted.parameters.classification
        else _tensor(wanted.name, rows)
        for wanted in requested
    ]


def _tensor(name: str, rows: Sequence[Prediction]) -> Tensor:
    output = OUTPUTS[name]
    if output is None:
        probabilities = [value for row in rows for value in row.probabilities.values()]
        shape = (len(rows), len(probabilities) // len(rows))
        return Tensor(name, "FP32", shape, probabilities)
    return Tensor(name, output.datatype, (len(rows),), [output.value(row) for row in rows])


def _classes(rows: Sequence[Prediction], count: int) -> Tensor:
    """Return the likeliest classes of each row, as Triton writes them: value, index, label."""
    count = min(count, len(rows[0].probabilities))
    texts = [
        f"{value:f}:{index}:{label}"
        for row in rows
        for index, (label, value) in sorted(
            enumerate(row.probabilities.items()), key=lambda entry: -entry[1][1]
        )[:count]
    ]
    return Tensor(PROBABILITIES, "BYTES", (len(rows), count), texts)


def _check_shape(name: str, shape: tuple[int, ...], rows: int) -> None:
    if shape not in {(rows,), (rows, 1)}:
        raise InputError(
            f"input {name}",
            expected=f"shape [{rows}] or [{rows}, 1]" if rows else "shape [rows] or [rows, 1]",
            found=str(list(shape)),
        )


def _text(row: int, text: str) -> str:
    if not 0 < len(text) <= MAX_TEXT_CHARS:
        raise InputError(
            f"{TEXT}[{row}]",
            expected=f"1 to {MAX_TEXT_CHARS} characters",
            found=str(len(text)),
        )
    return text


def _identifier(place: str, value: str) -> str | None:
    if not value:
        return None
    try:
        return _IDENTIFIER.validate_python(value)
    except ValidationError as error:
        _, expected, found = first_error(error)
        raise InputError(place, expected=expected, found=found) from None
