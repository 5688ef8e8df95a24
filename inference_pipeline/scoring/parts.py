"""What is scored of a file so far, in a folder beside the output: a run that stops can go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from inference_pipeline.scoring.input_file import InputFile, format_of
from shared.errors import InputError, StateError
from shared.file_lock import hold_file

if TYPE_CHECKING:
    import polars as pl

_SHOWN_REJECTS = 3

SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("id", pa.string()),
        ("subject_id", pa.string()),
        ("source_id", pa.string()),
        ("label", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("degraded", pa.bool_()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("rejected", pa.string()),  # why the row has no label; null where it has one
    ]
)
"""The rows of a part, in the order of the input."""


@dataclass(frozen=True)
class Plan:
    """What a run does. Another run goes on with its parts only if it would do the same."""

    input: str
    size: int
    modified: int
    """When the input was last changed, in nanoseconds since 1970."""
    columns: dict[str, str]
    chunk_rows: int
    model: str
    version: str = ""
    """All rows are scored by one version. Empty until it is known."""


def plan_of(file: InputFile, *, chunk_rows: int, model: str, version: str = "") -> Plan:
    """Return the plan to score a file as it is now."""
    facts = file.path.stat()
    return Plan(
        input=str(file.path.absolute()),
        size=facts.st_size,
        modified=facts.st_mtime_ns,
        columns=dict(file.columns),
        chunk_rows=chunk_rows,
        model=model,
        version=version,
    )


@dataclass(frozen=True)
class Finished:
    """What a complete run left."""

    scored: int
    rejected: int
    rejects: Path | None
    """The file that names the rejected rows, if there are any."""
    first_rejects: list[tuple[int, str]]
    """Line and reason of the first few."""


class Parts:
    """The chunks that are done: each is whole or not there. The folder goes when all are."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._folder = output.with_name(f"{output.name}.parts")
        self._plan_file = self._folder / "plan.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs from the same output while the context lasts.

        Raises:
            InputError: its name tells no format that can be written.
            StateError: another run is on it, or the output is there already.
        """
        if self._output.suffix == ".gz":
            raise InputError(
                str(self._output), expected="an output that is not packed", found="the ending .gz"
            )
        format_of(self._output)
        if self._output.exists():
            raise StateError(
                str(self._output),
                expected="an output that is not there yet",
                found="a file",
                remedy="Name another output, or take this one away.",
            )
        with hold_file(
            self._folder / "lock", place=str(self._output), remedy="Another run is writing it."
        ):
            try:
                yield
            finally:
                if not (self._plan_file.exists() and self._paths()):
                    # Nothing to go on with: the run is complete, or was refused.
                    shutil.rmtree(self._folder, ignore_errors=True)

    def begin(self, plan: Plan, *, anew: bool) -> Plan:
        """Start with a plan, or go on with the parts of a run that had the same.

        Returns:
            The plan, with the version of the earlier run if there is one.

        Raises:
            StateError: the parts are those of another plan.
        """
        if anew:
            self._plan_file.unlink(missing_ok=True)
            for part in self._paths():
                part.unlink()
        if not self._plan_file.exists():
            return plan
        earlier = Plan(**json.loads(self._plan_file.read_text(encoding="utf-8")))
        same_version = plan if plan.version else replace(plan, version=earlier.version)
        wanted, found = asdict(same_version), asdict(earlier)
        for name, value in wanted.items():
            if found[name] != value:
                raise StateError(
                    f"{self._folder}, {name}",
                    expected=str(value),
                    found=f"{found[name]}, in parts that an earlier run left",
                    remedy="Run it as then, or with --anew.",
                )
        return earlier

    def keep(self, plan: Plan) -> None:
        """Write the plan down, before the first part."""
        unfinished = self._plan_file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        unfinished.replace(self._plan_file)

    def has(self, chunk: int) -> bool:
        """Tell whether a chunk is done."""
        return self._path(chunk).exists()

    def write(self, chunk: int, rows: Sequence[dict[str, Any]]) -> None:
        """Write a chunk's rows, which have the columns of `SCHEMA`."""
        unfinished = self._path(chunk).with_suffix(".tmp")
        parquet.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), unfinished)
        unfinished.replace(self._path(chunk))

    def finish(self) -> Finished:
        """Put the parts together into the output, which appears whole, and delete them."""
        import polars as pl

        if not self._paths():
            self.write(0, [])  # the input has no rows, and so will the output
        rows = pl.scan_parquet(self._paths(), glob=False)
        is_scored = pl.col("rejected").is_null()
        counts = rows.select(scored=is_scored.sum(), rejected=(~is_scored).sum()).collect()
        scored, rejected = counts.row(0)
        rejects = self._output.with_name(f"{self._output.name}.rejects.jsonl") if rejected else None
        if rejects is not None:
            _sink(rows.filter(~is_scored).select("line", "id", "rejected"), rejects)
        first = rows.filter(~is_scored).select("line", "rejected").head(_SHOWN_REJECTS).collect()
        _sink(_flat(rows.filter(is_scored)), self._output)
        self._plan_file.unlink()
        return Finished(scored, rejected, rejects, first.rows())

    def _path(self, chunk: int) -> Path:
        return self._folder / f"{chunk:09d}.parquet"

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))


def _flat(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows with a column for each label's probability, as every output format can hold."""
    import polars as pl

    first = rows.select("labels").head(1).collect()
    labels = [] if first.is_empty() else first["labels"].to_list()[0]
    return rows.with_columns(
        pl.col("probabilities").list.get(at).alias(f"probability_{label}")
        for at, label in enumerate(labels)
    ).drop("labels", "probabilities", "rejected")


def _sink(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows to a file, as they stream by, and give it its name when it is whole."""
    unfinished = path.with_name(f".{path.name}.tmp")
    match format_of(path):
        case "csv":
            rows.sink_csv(unfinished)
        case "jsonl":
            rows.sink_ndjson(unfinished)
        case "parquet":
            rows.sink_parquet(unfinished)
    unfinished.replace(path)
