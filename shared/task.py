"""A task: one TOML file that says what a deployment is about. Adding a task needs no code."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from shared.errors import TaskError
from shared.fitting import Fitting
from shared.search import Search
from shared.subjects import SourceRules, SubjectRules
from shared.validation import first_error

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
_LONGEST = timedelta(days=36_525)
"""A hundred years: beyond, moments that are counted from today leave the calendar."""
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text like ``90s``, ``15m``, ``24h`` or ``7d`` tells.

    >>> parse_duration("24h") == timedelta(days=1)
    True
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("a whole number and one of s, m, h, d, such as '24h'")
    try:
        return timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])
    except (OverflowError, ValueError):
        raise ValueError("a duration of less than a billion days") from None


def _read_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bounded(duration: timedelta) -> timedelta:
    if duration > _LONGEST:
        raise ValueError(f"a duration of {_LONGEST.days}d, a hundred years, at most")
    return duration


def _written(duration: timedelta) -> str:
    """Return the duration as a task file has it, so that a task in JSON can be read again."""
    return f"{int(duration.total_seconds())}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    AfterValidator(_bounded),
    PlainSerializer(_written, when_used="json"),
]
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
    def _tiles_divide_their_window(self) -> Self:
        for window in self.spans:
            if window.length > _LONGEST:
                raise ValueError(
                    f"windows of {_LONGEST.days}d, a hundred years, at most, unlike {window.name!r}"
                )
            if window.tile <= timedelta(0) or window.length % window.tile:
                raise ValueError(
                    f"a whole number of tiles of {window.tile} in window {window.name}"
                )
        return self


Share = Annotated[float, Field(ge=0, le=1)]


class Allowance(_Section):
    """How many rows may be otherwise."""

    allowed: Share = 0.0
    """Their share of all."""


class Bounds(Allowance):
    """Between which numbers, both included, a figure of a text should be."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] | None = None


class Languages(Allowance):
    """Which languages texts should be in; a text whose language nobody told counts as another."""

    known: Annotated[list[str], Field(min_length=1)]


class Delay(Allowance):
    """How long after its publication a mention should be known."""

    max: Duration


class LabelShare(_Section):
    """Between which shares of all labels each label should be."""

    min: Share = 0.0
    max: Share = 1.0


class Quality(_Section):
    """What texts and labels are expected to be like. What is not given is not expected."""

    stop_backfill: bool = True
    """A backfill stops before it writes when an expectation does not hold; the stream never."""
    window: Annotated[int, Field(ge=1)] = 1_000
    """The stream is judged each time so many mentions, or so many labels, have come."""
    characters: Bounds | None = None
    words: Bounds | None = None
    named_subject: Allowance | None = None
    """Mentions of a subject other than the default one."""
    named_source: Allowance | None = None
    """Mentions from a source other than the default one."""
    language: Languages | None = None
    original: Allowance | None = None
    """Texts that are no near-copy of an earlier one; in the stream, of one in the same window."""
    delay: Delay | None = None
    labelled: Allowance | None = None
    """Mentions with a label. Not for the stream, where labels come later."""
    label_share: LabelShare | None = None


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
    max_holdout: Annotated[int, Field(ge=1)] = 3_000
    behaviour: str | None = None
    """Behavioural tests: ``builtin:sentiment``, or a TOML file, a relative one as seen from the
    current folder. None: no such tests."""
    behaviour_labels: dict[str, str] = Field(default_factory=dict)
    """Label of the behavioural tests to label of the task, where their names differ."""
    gate: Gate = Gate()
    search: Search = Search()
    """What `tune` tries."""

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
    def _labels_make_feature_names(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels that differ")
        for window in self.activity.spans:
            if not re.fullmatch(r"[1-9]\d*[smhd]", window.name):
                raise ValueError(f"windows such as '24h', unlike {window.name!r}")
        kinds = ["mentions", *self.labels, *(f"share_{label}" for label in self.labels)]
        if len(set(kinds)) != len(kinds):
            raise ValueError("labels that are not 'mentions', nor 'share_' before another label")
        for label in self.labels:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", label):
                raise ValueError(f"labels of letters, digits and _, unlike {label!r}")
        return self


def load_task(path: Path) -> Task:
    """Read a task file.

    Raises:
        TaskError: the file is absent, is no TOML, or does not describe a task; the message names
            the field.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(
            str(path),
            expected="a task file",
            found="no such file",
            remedy="Give --task FILE or set FTI_TASK.",
        ) from None
    except OSError as error:
        raise TaskError(str(path), expected="a readable file", found=str(error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(str(path), expected="a TOML document", found=str(error)) from error
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


def parse_moment(value: str) -> datetime:
    """Return the time that an ISO-8601 text tells; raises ValueError without a time zone."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; write it as 2026-01-31T12:00:00Z")
    return moment
