"""A task: one TOML file that says what a deployment is about. Adding a task needs no code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.duration import LONGEST, Duration, parse_duration
from shared.errors import TaskError
from shared.fitting import MOST_TEXTS, Fitting
from shared.quality_section import Quality, Share
from shared.schedules import Schedule
from shared.search import Search
from shared.subjects import SourceRules, SubjectRules
from shared.validation import first_error, shown

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Columns(_Section):
    """Which column of a file holds which field. Only the text must be there."""

    text: str
    mention_id: str | None = None
    subject_id: str | None = None
    source_id: str | None = None
    published_at: str | None = None
    language: str | None = None
    url: str | None = None
    label: str | None = None
    labelled_at: str | None = None
    annotator: str | None = None


class Replay(_Section):
    """Simulated arrival times, for texts that carry none: a seeded shuffle over a span of time."""

    seed: int = 0
    span: Duration = timedelta(days=14)
    ends: AwareDatetime | None = None
    """The last simulated arrival; by default the moment of the backfill."""


class Input(_Section):
    """How a file of history becomes mentions and labels."""

    format: Literal["csv", "jsonl", "parquet"]
    encoding_errors: Literal["strict", "replace"] = "strict"
    columns: Columns
    label_delay: Duration = timedelta(hours=1)
    """How long after its mention a label becomes known, where the file gives no labelled_at."""
    replay: Replay | None = None
    max_rejected_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A backfill stops before it writes when more than this share of the rows is rejected."""

    @model_validator(mode="after")
    def _times_come_from_somewhere(self) -> Self:
        if (self.columns.published_at is None) == (self.replay is None):
            raise ValueError(
                "either columns.published_at (the texts have times) "
                "or a table [input.replay] (arrival times are simulated)"
            )
        return self


class Window(_Section):
    """A sliding window and the tile in which it forgets. ``name`` ends up in feature names."""

    name: str
    length: timedelta
    tile: timedelta


class Activity(_Section):
    """The sliding windows of the activity features: length = tile."""

    windows: dict[str, Duration] = Field(min_length=1)

    @property
    def spans(self) -> tuple[Window, ...]:
        """The windows, shortest first."""
        made = [
            Window(name=name, length=parse_duration(name), tile=tile)
            for name, tile in self.windows.items()
        ]
        return tuple(sorted(made, key=lambda window: window.length))

    @property
    def horizon(self) -> timedelta:
        """How long a single event can change a feature: the longest window and its tile."""
        return max(window.length + window.tile for window in self.spans)

    @model_validator(mode="after")
    def _windows_are_named_and_divided(self) -> Self:
        for window in self.spans:
            if not re.fullmatch(r"[1-9]\d*[smhd]", window.name):  # ends up in feature names
                raise ValueError(f"windows such as '24h', unlike {window.name!r}")
            if window.length > LONGEST:
                raise ValueError(
                    f"windows of {LONGEST.days}d, a hundred years, at most, unlike {window.name!r}"
                )
            if window.tile <= timedelta(0) or window.length % window.tile:
                raise ValueError(
                    f"a whole number of tiles of {window.tile} in window {window.name}"
                )
        return self


class Gate(_Section):
    """What a trained model must show before the alias ``champion`` moves to it.

    What is None is measured, and fails no model.
    """

    min_gain_over_baseline: float = 0.0
    """Held-out accuracy above the linear baseline's; the gain must be greater than this."""
    min_accuracy: Share | None = None
    """Held-out accuracy."""
    min_onnx_agreement: Share = 0.999
    """Share of labels, on the newest held-out rows (2,000 at most), on which the file in full
    precision must agree with torch."""
    min_int8_agreement: Share = 0.995
    """The same of the int8 file. If it fails this, the model serves in full precision only."""
    max_int8_logit_difference: Annotated[float, Field(ge=0)] = 0.5
    """Largest difference of a logit on those rows, with the same consequence; as servers bound it,
    too."""
    max_champion_loss: Share = 0.03
    """Accuracy that may be lost against the champion on the same rows: the low end of the
    interval of the difference must lie above its negative."""
    min_slice_accuracy: Share | None = None
    """A slice whose interval lies wholly below this fails."""
    min_slice_rows: Annotated[int, Field(ge=1)] = 30
    """Fewer held-out rows make no slice."""
    min_mft_pass_rate: Share | None = None
    """Share of behavioural cases that must pass, of minimum functionality (MFT),"""
    min_inv_pass_rate: Share | None = None
    """of invariance (INV),"""
    min_dir_pass_rate: Share | None = None
    """and of directional expectation (DIR)."""
    max_p95_ms: Annotated[float, Field(gt=0)] | None = None
    """Latency of one text at a time on the machine that trains."""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    """Of the file that will serve, in millions of bytes."""


class Training(Fitting):
    """How the model of the task is trained."""

    base: str
    """Encoder: a folder, ``package:NAME/FOLDER`` of an installed package, or a hub name."""
    holdout_share: Annotated[float, Field(gt=0, lt=0.9)] = 0.15
    max_holdout: Annotated[int, Field(ge=1, le=MOST_TEXTS)] = 3_000
    behaviour: str | None = None
    """Behavioural tests: ``builtin:sentiment``, or a TOML file, a relative one as seen from the
    current folder. None: no such tests."""
    behaviour_labels: dict[str, str] = Field(default_factory=dict)
    """Label of the behavioural tests to label of the task, where their names differ."""
    gate: Gate = Gate()
    search: Search = Search()
    """What `tune` tries."""
    schedules: list[Schedule] = Field(default_factory=list, exclude=True)
    """When to train; they decide nothing of what a model becomes, so no record holds them."""

    @model_validator(mode="after")
    def _pass_rates_are_measured(self) -> Self:
        kinds = ("mft", "inv", "dir")
        asked = [kind for kind in kinds if getattr(self.gate, f"min_{kind}_pass_rate") is not None]
        if asked and self.behaviour is None:
            raise ValueError(f"training.behaviour, which gate.min_{asked[0]}_pass_rate is about")
        return self


class Task(_Section):
    """Everything that makes one deployment differ from another."""

    name: Name
    description: str = ""
    labels: Annotated[list[str], Field(min_length=2)]
    input: Input
    subjects: SubjectRules = SubjectRules()
    sources: SourceRules = SourceRules()
    activity: Activity
    quality: Quality = Quality()
    training: Training

    @model_validator(mode="after")
    def _schedules_train_this_task(self) -> Self:
        for schedule in self.training.schedules:
            if fixed := sorted(NOT_OVERRIDDEN & schedule.overrides.keys()):
                raise ValueError(f"schedules whose overrides leave {fixed[0]} alone")
            given = self.training.model_dump(exclude_unset=True, by_alias=True)
            try:
                Training.model_validate(_merged(given, schedule.overrides))
            except ValidationError as error:
                field, expected, found = first_error(error)
                raise ValueError(
                    f"schedules whose overrides fit: {field} as {expected}, not {found}"
                ) from None
        return self

    @field_validator("labels")
    @classmethod
    def _labels_make_feature_names(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) != len(labels):
            raise ValueError("labels that differ")
        kinds = ["mentions", *labels, *(f"share_{label}" for label in labels)]
        if len(set(kinds)) != len(kinds):
            raise ValueError("labels that are not 'mentions', nor 'share_' before another label")
        for label in labels:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", label):
                raise ValueError(f"labels of letters, digits and _, unlike {label!r}")
        return labels


NOT_OVERRIDDEN = frozenset({"base", "behaviour", "gate", "schedules", "search"})
"""Fields of the training section that a run cannot have otherwise: they name files of the machine
that trains or say what becomes champion, which are not for whoever may ask for a run, or are about
no single run."""


def load_task(path: Path, overrides: Mapping[str, Any] | None = None) -> Task:
    """Read a task file.

    Args:
        path: of the file.
        overrides: fields of the section ``training`` that take the place of the file's.

    Raises:
        TaskError: the file is absent, is no TOML, or does not describe a task, or would not with
            the overrides; the message names the field.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(
            str(path),
            expected="a task file",
            found="no such file",
            remedy="Set FTI_TASK, or give --task where a command has it.",
        ) from None
    except OSError as error:
        raise TaskError(str(path), expected="a readable file", found=str(error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(str(path), expected="a TOML document", found=str(error)) from error
    if overrides:
        document = _overridden(document, overrides, path)
    try:
        return Task.model_validate(document)
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise TaskError(
            f"{path}, {field}" if error.errors()[0]["loc"] else str(path),
            expected=expected,
            found=found,
            remedy="README.md, 'Bring your own data', lists the fields.",
        ) from error


def _overridden(document: dict[str, Any], overrides: Mapping[str, Any], path: Path) -> Any:
    if fixed := sorted(NOT_OVERRIDDEN & overrides.keys()):
        raise TaskError(
            f"{path}, training.{fixed[0]}",
            expected="no override: the task file decides",
            found=shown(overrides[fixed[0]]),
        )
    return _merged(document, {"training": overrides})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document in which what stands above counts, table by table."""
    both = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(name), Mapping)
    }
    return {**below, **above, **both}


def parse_moment(value: str) -> datetime:
    """Return the time that an ISO-8601 text tells; raises ValueError without a time zone."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; write it as 2026-01-31T12:00:00Z")
    return moment
