"""Scoring a file: formats, rejects, interruptions, and the same answers as the server's engine."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question
from inference_pipeline.scoring.batch import Scorer
from inference_pipeline.scoring.bootstrap import opened
from inference_pipeline.scoring.input_file import InputFile
from inference_pipeline.scoring.parts import Parts
from inference_pipeline.scoring.plan import plan_of
from inference_pipeline.settings import InferenceSettings
from shared.errors import StateError
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.scorer_run import Counting, read_json_lines, rows
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
    scored = pl.read_parquet(tmp_path / "out.parquet").to_dicts()
    assert [(row["line"], row["id"], row["label"]) for row in scored] == [
        (2, "a", "negative"),
        (4, "c", "positive"),
        (7, "e", "negative"),
    ]
    assert [row["subject_id"] for row in scored] == ["united", "other", "@x"]
    assert {(row["version"], row["variant"]) for row in scored} == {(champion, "fp32")}
    assert all(
        sum(row[f"probability_{label}"] for label in LABELS) == pytest.approx(1) for row in scored
    )
    assert not any(row["degraded"] for row in scored)
    rejects = read_json_lines(tmp_path / "out.parquet.rejects.jsonl")
    assert [(reject["line"], reject["id"]) for reject in rejects] == [(3, None), (6, None)]
    assert "text: expected a value, found nothing" in rejects[0]["rejected"]
    assert "4 fields where the header has 3" in rejects[1]["rejected"]
    assert "line 3: text" in said
    assert f"3 rows, by model {MODEL} version {champion}, variant fp32" in said
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
    scored = pl.read_csv(output)
    assert scored["line"].to_list() == list(range(1, 9_001))
    assert scored["label"].to_list() == WANTED * 1_800
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
        (["--input", str(tmp_path)], "expected a file to score, found a folder"),
        (["--input", str(source), "--version", "99"], "'99'. Name one that the model registry"),
        (["--input", str(source), "--model", "zz"], "Check the model's name"),
    ):
        status, said = score(home, *arguments, "--output", str(output))
        assert status == 1, said
        assert wanted in said
        assert len(said.splitlines()) == 1
        assert not list(tmp_path.glob("out.csv*"))
    with pytest.raises(StateError, match="found a folder"), Parts(tmp_path).held():
        pass
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
                await scorer.run(rows(TEXTS), lambda _: None)
                parts.finish()
            return await at.engine.predict(questions, ask)

    answer = asyncio.run(both())
    scored = read_json_lines(tmp_path / "out.jsonl")
    for row, prediction in zip(scored, answer.predictions, strict=True):
        assert isinstance(prediction, Prediction)
        assert row["label"] == prediction.label
        found = {label: row[f"probability_{label}"] for label in LABELS}
        assert found == pytest.approx(prediction.probabilities)


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
