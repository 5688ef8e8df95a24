"""A scorer with a predictor that counts, run over texts in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference_pipeline.engine.answer import Answer, Ask, Prediction, Question, RowError
from inference_pipeline.scoring.batch import Scorer
from inference_pipeline.scoring.input_file import InputFile, Row
from inference_pipeline.scoring.parts import Parts
from inference_pipeline.scoring.plan import plan_of
from inference_pipeline.versions.registry import ModelVersion
from shared.errors import FtiError, InputError


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


def rows(texts: Sequence[str]) -> Iterator[Row]:
    """Return texts as the rows of a file."""
    for line, text in enumerate(texts, start=1):
        yield Row(line, {"text": text, "id": line, "subject_id": None, "source_id": " "})


def input_of(output: Path) -> Path:
    """Return the file that a run takes for its input; it reads the texts in its place."""
    return output.with_suffix(".in.csv")


def run_scorer(
    output: Path,
    texts: Sequence[str],
    predictor: Counting,
    *,
    chunk_rows: int = 2,
    in_flight: int = 2,
    variant: str = "fp32",
    anew: bool = False,
) -> list[int]:
    """Score texts, or go on with them, up to the output; return the sizes of chunks done."""
    parts, chunks = Parts(output), list[int]()
    source = input_of(output)
    if not source.exists():
        source.touch()
    with parts.held():
        wanted = plan_of(InputFile(source), chunk_rows=chunk_rows, model="m")
        parts.keep(replace(parts.begin(wanted, anew=anew), variant=variant))
        scorer = Scorer(
            predictor, Ask(version="1"), parts, chunk_rows=chunk_rows, in_flight=in_flight
        )
        asyncio.run(scorer.run(rows(texts), chunks.append))
        parts.finish()
    return chunks


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
