"""From questions to what the feature store and a model take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference_pipeline.engine.answer import Question, RowError
from inference_pipeline.features.reader import Entity
from inference_pipeline.versions.model import Encoding
from inference_pipeline.versions.served import ServedVersion
from shared.errors import InputError
from shared.features import ROLES, join_key
from shared.text import normalise


@dataclass(frozen=True)
class Mentions:
    """B questions that can be asked of a model, prepared for it, and the others."""

    rows: list[int]
    """The positions of the B questions in the request."""
    places: list[str]
    """Where errors say that they stand."""
    errors: dict[int, RowError]
    """Why the others cannot be asked, by position."""
    subject_ids: list[str]
    source_ids: list[str]
    entities: list[Entity]
    encodings: list[Encoding]

    @property
    def tokens(self) -> int:
        """The length of all texts."""
        return sum(map(len, self.encodings))


def read_texts(questions: Sequence[Question]) -> list[str]:
    """Return the texts as models read them; empty where there is nothing to read."""
    return [normalise(question.text) for question in questions]


def prepare(served: ServedVersion, questions: Sequence[Question], texts: Sequence[str]) -> Mentions:
    """Prepare questions for one version; `texts` is what `read_texts` returned for them."""
    manifest = served.model.manifest
    rows = [row for row, text in enumerate(texts) if text]
    asked = [questions[row] for row in rows]
    # Rules read the text as it came, as they do when a mention is ingested.
    ids = {
        join_key("subject"): [
            question.subject_id or manifest.subjects.resolve(question.text) for question in asked
        ],
        join_key("source"): [
            question.source_id or manifest.sources.resolve(question.text) for question in asked
        ],
    }
    subject_ids, source_ids = (ids[join_key(role)] for role in ROLES)
    keys = set(served.service.join_keys.values())
    return Mentions(
        rows=rows,
        places=[question.place for question in asked],
        errors={
            row: _nothing_to_read(questions[row]) for row in range(len(texts)) if not texts[row]
        },
        subject_ids=subject_ids,
        source_ids=source_ids,
        entities=[{key: ids[key][number] for key in keys} for number in range(len(asked))],
        encodings=served.model.encode([texts[row] for row in rows]) if rows else [],
    )


def _nothing_to_read(question: Question) -> RowError:
    return RowError(
        question.place,
        InputError(
            "text",
            expected="a text with something to read",
            found="white space, control characters or nothing",
        ),
    )
