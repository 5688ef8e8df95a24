"""What is scored of a file stays: runs that fail and go on, damaged parts, full disks."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from inference_pipeline.engine.answer import Ask
from inference_pipeline.scoring.batch import Scorer
from inference_pipeline.scoring.input_file import Row
from inference_pipeline.scoring.parts import Parts
from shared.errors import FtiError, StateError, UnavailableError
from tests.inference.scorer_run import Counting, input_of, read_json_lines, rows, run_scorer

TEXTS = [f"a{number}" for number in range(10)]


def leave_three_of_five_parts(output: Path) -> Path:
    """Run until six of ten texts are scored, and return the folder of the parts."""
    with pytest.raises(FtiError):
        run_scorer(output, TEXTS, Counting(6), in_flight=1)
    return output.with_name(f"{output.name}.parts")


def flip_a_bit(part: bytes) -> bytes:
    """Return a part with one bit of its values changed, which only a checksum tells."""
    with parquet.ParquetFile(BytesIO(part)) as file:
        column = file.metadata.row_group(0).column(0)
    at = column.data_page_offset - 1  # the last byte of the page before, with the lines' numbers
    return part[:at] + bytes([part[at] ^ 1]) + part[at + 1 :]


@given(
    texts=st.lists(st.sampled_from(["ann", "bob", "odd", " "]), max_size=20),
    failures=st.lists(st.integers(0, 12), max_size=3),
)
def test_however_often_it_fails_each_row_is_in_the_end_there_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], failures: list[int]
) -> None:
    """Runs that end anywhere and are repeated leave every row once, as label or as reject."""
    output = tmp_path_factory.mktemp("scored") / "out.csv"
    for failure in failures:
        try:
            run_scorer(output, texts, Counting(failure))
        except FtiError:
            assert not output.exists()
            continue
        break
    if not output.exists():
        assert sum(run_scorer(output, texts, Counting())) == len(texts)
    scored = pl.read_csv(output, infer_schema=False)["line"].to_list() if texts else []
    rejects = output.with_name("out.csv.rejects.jsonl")
    rejected = [row["line"] for row in read_json_lines(rejects)] if rejects.exists() else []
    good = [line for line, text in enumerate(texts, start=1) if text in {"ann", "bob"}]
    bad = [line for line, text in enumerate(texts, start=1) if text in {"odd", " "}]
    assert ([int(line) for line in scored], rejected) == (good, bad)


def test_chunks_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    """The second run asks only for what the first did not keep."""
    with pytest.raises(FtiError):
        run_scorer(tmp_path / "out.csv", TEXTS, failing := Counting(6), in_flight=1)
    run_scorer(tmp_path / "out.csv", TEXTS, second := Counting())
    assert (failing.asked, second.asked) == (TEXTS[:6], TEXTS[6:])


def test_parts_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    """What was left by a run with other chunks is refused, with the way out."""
    with pytest.raises(FtiError):
        run_scorer(tmp_path / "out.csv", ["a"] * 6, Counting(2), in_flight=1)
    with pytest.raises(StateError, match=r"chunk_rows.*expected 3, found 2.*--anew"):
        run_scorer(tmp_path / "out.csv", ["a"] * 6, Counting(), chunk_rows=3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"garbage\n",
        lambda _: b"",
        lambda content: content[: len(content) // 2],
        flip_a_bit,
    ],
    ids=["other", "empty", "cut", "one bit"],
)
def test_a_damaged_part_alone_is_done_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run scores its rows anew and says so; the other parts stay."""
    output = tmp_path / "out.csv"
    part = leave_three_of_five_parts(output) / "000000001.parquet"
    part.write_bytes(damage(part.read_bytes()))
    run_scorer(output, TEXTS, second := Counting())
    assert second.asked == [*TEXTS[2:4], *TEXTS[6:]]
    told = capsys.readouterr()
    assert str(part) in told.out + told.err
    assert pl.read_csv(output)["line"].to_list() == list(range(1, 11))


def test_an_input_that_looks_the_same_is_not_taken_for_it(tmp_path: Path) -> None:
    """Other content of the same size and time is refused; the same content at any time goes on."""
    output = tmp_path / "out.csv"
    source = input_of(output)
    source.write_text("text\nann\n")
    leave_three_of_five_parts(output)
    times = source.stat()
    copy = Path(shutil.copy(source, tmp_path / "copy"))
    source.write_text("text\nbob\n")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(StateError, match=rf"input {source}.*earlier file back.*--anew"):
        run_scorer(output, TEXTS, Counting())
    shutil.copy(copy, source)
    run_scorer(output, TEXTS, second := Counting())
    assert second.asked == TEXTS[6:]


def test_a_run_goes_on_with_the_variant_that_it_began_with(tmp_path: Path) -> None:
    """When timing chose another one at this start, it says so and leaves the parts alone."""
    output = tmp_path / "out.csv"
    leave_three_of_five_parts(output)
    with pytest.raises(StateError, match=r"variant.*expected fp32.*found int8.*--anew"):
        run_scorer(output, TEXTS, Counting(), variant="int8")
    run_scorer(output, TEXTS, second := Counting())
    assert second.asked == TEXTS[6:]


@pytest.mark.parametrize("content", ["garbage", "[1]", '{"size": 1}'])
def test_a_damaged_plan_is_refused_with_the_way_out(tmp_path: Path, content: str) -> None:
    """Whose parts lie there is not known then; --anew begins with the first row."""
    output = tmp_path / "out.csv"
    plan = leave_three_of_five_parts(output) / "plan.json"
    plan.write_text(content)
    with pytest.raises(StateError, match=r"plan\.json.*--anew"):
        run_scorer(output, TEXTS, Counting())
    run_scorer(output, TEXTS, second := Counting(), anew=True)
    assert second.asked == TEXTS


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_a_full_disk_keeps_what_is_done(tmp_path: Path, name: str) -> None:
    """No room for a part, then none for the output: an error each time; with room it goes on."""
    output = tmp_path / name
    folder = leave_three_of_five_parts(output)
    # Files that have no room, where the run writes what is unfinished.
    for full, left in (
        (folder / ".000000004.parquet.tmp", TEXTS[6:]),
        (tmp_path / f".{name}.tmp", TEXTS[8:]),
    ):
        full.symlink_to("/dev/full")
        with pytest.raises(UnavailableError, match=r"No space left on device\. Make room") as error:
            run_scorer(output, TEXTS, again := Counting(), in_flight=1)
        assert error.value.place == str(full.with_name(full.name[1:].removesuffix(".tmp")))
        assert again.asked == left
        assert not output.exists()
        assert not full.is_symlink()
    run_scorer(output, TEXTS, last := Counting())
    assert last.asked == []
    assert output.exists()


def test_where_no_folder_can_be_made_the_output_is_refused(tmp_path: Path) -> None:
    """The error names the folder of the parts, and what the system said."""
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "out.csv"
    with (
        pytest.raises(StateError, match=r"out\.csv\.parts: .*Not a directory"),
        Parts(output).held(),
    ):
        pass


def test_a_file_is_read_no_faster_than_it_is_scored(tmp_path: Path) -> None:
    """Only the chunks in flight are in memory, however long the file is."""
    read = done = 0

    def counted() -> Iterator[Row]:
        nonlocal read
        for row in rows(["a"] * 1_000):
            read += 1
            # Two chunks of ten in flight, and one that was read meanwhile.
            assert read - done <= 30
            yield row

    def on_chunk(size: int) -> None:
        nonlocal done
        done += size

    parts = Parts(tmp_path / "out.csv")
    with parts.held():
        scorer = Scorer(Counting(), Ask(), parts, chunk_rows=10, in_flight=2)
        asyncio.run(scorer.run(counted(), on_chunk))
    assert done == 1_000
