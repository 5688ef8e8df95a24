"""What is scored of a file so far, in a folder beside the output: a run that stops can go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from inference_pipeline.scoring.input_file import format_of
from inference_pipeline.scoring.plan import Plan
from shared.disk import disk_errors
from shared.errors import InputError, StateError
from shared.file_lock import hold_file
from shared.logs import get_logger

if TYPE_CHECKING:
    import polars as pl

log = get_logger(__name__)

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
        ("variant", pa.string()),
        ("rejected", pa.string()),  # why the row has no label; null where it has one
    ]
)
"""The rows of a part, in the order of the input."""


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
            StateError: another run is on it, the output is there already, or the disk refuses.
        """
        if self._output.exists():
            raise StateError(
                str(self._output),
                expected="an output that is not there yet",
                found="a folder" if self._output.is_dir() else "a file",
                remedy="Name another output, or take this one away.",
            )
        if self._output.suffix == ".gz":
            raise InputError(
                str(self._output), expected="an output that is not packed", found="the ending .gz"
            )
        format_of(self._output)
        with ExitStack() as stack:
            with _writing(self._folder):
                stack.enter_context(
                    hold_file(
                        self._folder / "lock",
                        place=str(self._output),
                        remedy="Another run is writing it.",
                    )
                )
            try:
                yield
            finally:
                if not (self._plan_file.exists() and self._paths()):
                    # Nothing to go on with: the run is complete, or was refused.
                    shutil.rmtree(self._folder, ignore_errors=True)

    def begin(self, plan: Plan, *, anew: bool) -> Plan:
        """Start with a plan, or go on with the parts of a run that had the same.

        A part that is damaged is deleted, so that its chunk is done again.

        Returns:
            The plan, with version and variant of the earlier run if there is one.

        Raises:
            StateError: the parts are those of another plan, or the disk refuses.
        """
        with _writing(self._folder):
            if anew:
                self._plan_file.unlink(missing_ok=True)
                for part in self._paths():
                    part.unlink()
            earlier = Plan.read(self._plan_file)
            if earlier is None:
                return plan
            plan.check_same(earlier, str(self._folder))
            for part in self._paths():
                if not _is_whole(part):
                    log.warning("damaged_part_is_done_again", part=str(part))
                    part.unlink()
        return earlier

    def keep(self, plan: Plan) -> None:
        """Write the plan down, before the first part, when version and variant are known.

        Raises:
            StateError: the parts of an earlier run are another's, or the disk refuses.
        """
        with _writing(self._plan_file):
            earlier = Plan.read(self._plan_file)
            if earlier is not None:
                plan.check_same(earlier, str(self._folder))
            plan.write(self._plan_file)

    def has(self, chunk: int) -> bool:
        """Tell whether a chunk is done."""
        return self._path(chunk).exists()

    def write(self, chunk: int, rows: Sequence[dict[str, Any]]) -> None:
        """Write a chunk's rows, which have the columns of `SCHEMA`.

        Raises:
            StateError: the disk refuses.
        """
        table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
        with _unfinished(self._path(chunk)) as unfinished:
            # With checksums: what a disk changes later is seen by who goes on.
            parquet.write_table(table, unfinished, write_page_checksum=True)

    def finish(self) -> Finished:
        """Put the parts together into the output, which appears whole, and delete them.

        Raises:
            StateError: the disk refuses; the parts stay.
        """
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
    """Write rows to a file, as they stream by."""
    with _unfinished(path) as unfinished:
        match format_of(path):
            case "csv":
                rows.sink_csv(unfinished)
            case "jsonl":
                rows.sink_ndjson(unfinished)
            case "parquet":
                rows.sink_parquet(unfinished)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Give a file to write, which gets its name when it is whole and goes when it is not.

    Raises:
        StateError: the disk refuses.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    with _writing(path):
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def _writing(path: Path) -> AbstractContextManager[None]:
    return disk_errors(
        str(path), remedy="Make room and run the same command again: it goes on where it was."
    )


def _is_whole(part: Path) -> bool:
    """Tell whether a part can be read to its end and has the columns of a part."""
    try:
        with parquet.ParquetFile(part, page_checksum_verification=True) as file:
            return bool(file.read().schema.equals(SCHEMA))
    except (pa.ArrowException, OSError):
        return False
