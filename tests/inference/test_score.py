"""Scoring a file: formats, rejects, interruptions, and the same answers as the server's engine."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question, RowError
from inference_pipeline.scoring.batch import Scorer
from inference_pipeline.scoring.bootstrap import opened
from inference_pipeline.scoring.input_file import InputFile, Row
from inference_pipeline.scoring.parts import Parts, plan_of
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError, InputError, StateError
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.server_process import command, run_to_end
from tests.inference.tiny_model import LABELS, TinyModel

if TYPE_CHECKING:
    from feast import FeatureStore

TEXTS = ["bad flight", "great flight", "late late", "good", "flight"]
WANTED = ["negative", "positive", "negative", "positive", "neutral"]


@pytest.fixture
def champion(home: Path, publisher: Publisher, store: FeatureStore) -> str:
    """Version 1, in the registry under the home, beside its feature store."""
    del home, store
    return publisher.publish(TinyModel())


def score(home: Path, *arguments: str) -> tuple[int, str]:
    """Run the command to its end."""
    return run_to_end("score", *arguments, FTI_HOME=str(home), FTI_INFERENCE_MODEL=MODEL)


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.timeout(120)
def test_each_row_gets_label_probabilities_and_version(
    home: Path, champion: str, tmp_path: Path
) -> None:
    """Good rows are in the output, in their order; bad ones in the rejects, with their line."""
    source = tmp_path / "in.csv"
    source.write_text(
        "id,review,film\n"
        "a,bad flight,united\n"
        "b,,united\n"
        'c,"great\nflight",\n'
        "d,one,too,many\n"
        "e,late late,@x\n"
    )
    status, said = score(
        home,
        *("--input", str(source), "--output", str(tmp_path / "out.parquet")),
        *("--column", "text=review", "--column", "subject_id=film", "--chunk-rows", "2"),
    )
    assert status == 3, said
    rows = pl.read_parquet(tmp_path / "out.parquet").to_dicts()
    assert [(row["line"], row["id"], row["label"]) for row in rows] == [
        (2, "a", "negative"),
        (4, "c", "positive"),
        (7, "e", "negative"),
    ]
    assert [row["subject_id"] for row in rows] == ["united", "other", "@x"]
    assert {row["version"] for row in rows} == {champion}
    assert all(
        sum(row[f"probability_{label}"] for label in LABELS) == pytest.approx(1) for row in rows
    )
    assert not any(row["degraded"] for row in rows)
    rejects = read_json_lines(tmp_path / "out.parquet.rejects.jsonl")
    assert [(reject["line"], reject["id"]) for reject in rejects] == [(3, None), (6, None)]
    assert "text: expected a value, found nothing" in rejects[0]["rejected"]
    assert "4 fields where the header has 3" in rejects[1]["rejected"]
    assert "line 3: text" in said
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == [
        "out.parquet",
        "out.parquet.rejects.jsonl",
    ]


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("champion")
def test_killed_and_run_again_it_does_what_is_left(home: Path, tmp_path: Path) -> None:
    """After kill -9 nothing looks like an output; the next run keeps what was done."""
    source, output = tmp_path / "in.jsonl.gz", tmp_path / "out.csv"
    with gzip.open(source, "wt") as file:
        for number in range(9_000):
            file.write(json.dumps({"id": number, "text": TEXTS[number % 5]}) + "\n")
    arguments = ["--input", str(source), "--output", str(output), "--chunk-rows", "50"]
    parts = output.with_name("out.csv.parts")
    settings = {"FTI_HOME": str(home), "FTI_INFERENCE_MODEL": MODEL}
    with command("score", *arguments, **settings) as process:
        deadline = time.monotonic() + 60
        while not list(parts.glob("*.parquet")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not output.exists()
    done = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert 0 < len(done) < 180
    with command("score", *arguments, **settings) as process:
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.parquet"))) <= len(done) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert done.items() < kept.items()
    status, said = score(home, *arguments)
    assert status == 0, said
    rows = pl.read_csv(output)
    assert rows["line"].to_list() == list(range(1, 9_001))
    assert rows["label"].to_list() == WANTED * 1_800
    assert not parts.exists()


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("champion")
def test_what_is_wrong_is_said_in_words(home: Path, tmp_path: Path) -> None:
    """A missing file, an unknown version and an output that is there end the command with 1."""
    source = write_csv(tmp_path / "in.csv", [{"text": text} for text in TEXTS])
    output = tmp_path / "out.csv"
    for arguments, wanted in (
        (["--input", str(tmp_path / "no.csv")], "expected a file to score"),
        (["--input", str(source), "--column", "id=key"], "a column 'key' for the field id"),
        (["--input", str(source), "--version", "99"], "'99'"),
    ):
        status, said = score(home, *arguments, "--output", str(output))
        assert status == 1, said
        assert wanted in said
        assert "Traceback" not in said
        assert not list(tmp_path.glob("out.csv*"))
    output.write_text("mine")
    status, said = score(home, "--input", str(source), "--output", str(output))
    assert status == 1
    assert "found a file" in said
    assert output.read_text() == "mine"


def test_scoring_and_serving_answer_alike(
    settings: InferenceSettings, publisher: Publisher, store: FeatureStore, tmp_path: Path
) -> None:
    """A file's labels and probabilities are those that the engine gives to a request."""
    del store
    version = publisher.publish(TinyModel(bias=0.5))
    questions = [Question("", text) for text in TEXTS]

    async def both() -> Answer:
        async with opened(settings, timeout=timedelta(minutes=1)) as at:
            at.versions.load(MODEL)
            ask = Ask(model=MODEL, version=version)
            parts = Parts(tmp_path / "out.jsonl")
            with parts.held():
                parts.keep(plan_of(InputFile(Path(__file__)), chunk_rows=2, model=MODEL))
                scorer = Scorer(at.engine, ask, parts, chunk_rows=2, in_flight=2)
                await scorer.run(_rows(TEXTS), lambda _: None)
                parts.finish()
            return await at.engine.predict(questions, ask)

    answer = asyncio.run(both())
    rows = read_json_lines(tmp_path / "out.jsonl")
    for row, prediction in zip(rows, answer.predictions, strict=True):
        assert isinstance(prediction, Prediction)
        assert row["label"] == prediction.label
        found = {label: row[f"probability_{label}"] for label in LABELS}
        assert found == pytest.approx(prediction.probabilities)


class Counting:
    """A predictor that labels by the text's first letter, and counts."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked: list[str] = []
        self._fails_after = fails_after

    async def predict(self, questions: Sequence[Question], ask: Ask) -> Answer:
        if self._fails_after is not None and len(self.asked) >= self._fails_after:
            raise FtiError("engine", expected="an answer", found="a failure")
        await asyncio.sleep(0)
        self.asked += [question.text for question in questions]
        return Answer(
            ModelVersion("tiny", ask.version or "", 0),
            None,
            "fp32",
            [_prediction(question.text) for question in questions],
        )


def _prediction(text: str) -> Prediction | RowError:
    if text == "odd":
        return RowError("", InputError("text", expected="an even one", found="'odd'"))
    shares = {"a": 0.25, "b": 0.75}
    return Prediction(text[0], shares, "s", "o", features={}, views={}, degraded=False)


def _rows(texts: Sequence[str]) -> Iterator[Row]:
    for line, text in enumerate(texts, start=1):
        yield Row(line, {"text": text, "id": line, "subject_id": None, "source_id": " "})


def run_scorer(
    output: Path,
    texts: Sequence[str],
    predictor: Counting,
    *,
    chunk_rows: int = 2,
    in_flight: int = 2,
) -> list[int]:
    """Score texts, or go on with them, up to the output; return the sizes of chunks done."""
    parts, chunks = Parts(output), list[int]()
    source = output.with_suffix(".in.csv")
    if not source.exists():
        source.touch()
    with parts.held():
        wanted = plan_of(InputFile(source), chunk_rows=chunk_rows, model="m")
        parts.keep(parts.begin(wanted, anew=False))
        scorer = Scorer(
            predictor, Ask(version="1"), parts, chunk_rows=chunk_rows, in_flight=in_flight
        )
        asyncio.run(scorer.run(_rows(texts), chunks.append))
        parts.finish()
    return chunks


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
    texts = [f"a{n}" for n in range(10)]
    with pytest.raises(FtiError):
        run_scorer(tmp_path / "out.csv", texts, failing := Counting(6), in_flight=1)
    run_scorer(tmp_path / "out.csv", texts, second := Counting())
    assert (failing.asked, second.asked) == (texts[:6], texts[6:])


def test_parts_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    """What was left by a run with other chunks is refused, with the way out."""
    with pytest.raises(FtiError):
        run_scorer(tmp_path / "out.csv", ["a"] * 6, Counting(2), in_flight=1)
    with pytest.raises(StateError, match=r"chunk_rows.*expected 3, found 2.*--anew"):
        run_scorer(tmp_path / "out.csv", ["a"] * 6, Counting(), chunk_rows=3)


def test_a_file_is_read_no_faster_than_it_is_scored(tmp_path: Path) -> None:
    """Only the chunks in flight are in memory, however long the file is."""
    read = done = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for row in _rows(["a"] * 1_000):
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
        asyncio.run(scorer.run(rows(), on_chunk))
    assert done == 1_000


def test_bytes_that_are_no_text_reject_their_row_alone(tmp_path: Path) -> None:
    """A damaged line is rejected with a reason; its neighbours are scored."""
    path = tmp_path / "in.csv"
    path.write_bytes(b"text\nann\nb\xff\xfe\nbob\n")
    parts = Parts(tmp_path / "out.csv")
    with parts.held():
        scorer = Scorer(Counting(), Ask(), parts, chunk_rows=10, in_flight=1)
        asyncio.run(scorer.run(InputFile(path).rows(), lambda _: None))
        parts.keep(plan_of(InputFile(path), chunk_rows=10, model="m"))
        finished = parts.finish()
    assert (finished.scored, finished.rejected) == (2, 1)
    assert finished.first_rejects[0][0] == 3
