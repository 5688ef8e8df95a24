"""A text gets alone what it gets in any batch, as near as the variant is to full precision."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_pipeline.engine.waiting import Work
from inference_pipeline.features.reader import Floats
from inference_pipeline.versions.model import Encoding, LoadedModel
from shared.feature_store import FeatureService
from tests.inference.quantised_model import MAX_LENGTH, WORDS, make_variants
from tests.inference.test_scheduler import LONG, VERSION, scheduling

ROUNDING = 1e-4
HELD_OUT_BATCHES = 300

Row = tuple[Encoding, Floats]


@pytest.fixture(scope="module")
def variants(
    tmp_path_factory: pytest.TempPathFactory, feature_service: FeatureService
) -> dict[str, LoadedModel]:
    return make_variants(tmp_path_factory.mktemp("variants"), feature_service)


def make_row(seed: int, columns: int) -> Row:
    """Return a text and features, some of which are missing."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, WORDS, random.integers(1, MAX_LENGTH + 1))
    features = random.random(columns).astype(np.float32)
    features[random.random(columns) < 0.3] = np.nan
    return Encoding(ids.astype(np.int64)), features


def scores(model: LoadedModel, rows: Sequence[Row]) -> Floats:
    """Return the logits of rows in one batch."""
    return model.scores([text for text, _ in rows], np.stack([known for _, known in rows]))


@pytest.fixture(scope="module")
def tolerance(variants: dict[str, LoadedModel]) -> dict[str, float]:
    """What a manifest states: how far logits are from full precision, on batches held out."""
    random = np.random.default_rng(1)
    columns = variants["fp32"].no_features(1).shape[1]
    most = 0.0
    for _ in range(HELD_OUT_BATCHES):
        batch = [
            make_row(int(random.integers(2**31)), columns) for _ in range(random.integers(1, 9))
        ]
        exact = np.concatenate([scores(variants["fp32"], [row]) for row in batch])
        most = max(most, float(np.abs(scores(variants["int8"], batch) - exact).max()))
    return {"fp32": ROUNDING, "int8": most}


async def through_scheduler(model: LoadedModel, requests: Sequence[Sequence[Row]]) -> list[Floats]:
    """Return the logits of requests that wait in the queue together."""
    async with scheduling(token_budget=96) as trial:
        deadline = time.monotonic() + LONG
        found = await asyncio.gather(
            *(
                trial.scheduler.run(
                    Work(
                        VERSION,
                        model,
                        [text for text, _ in rows],
                        np.stack([known for _, known in rows]),
                    ),
                    deadline=deadline,
                )
                for rows in requests
            )
        )
    return [np.stack([row for row in rows if isinstance(row, np.ndarray)]) for rows in found]


@pytest.mark.parametrize("variant", ["fp32", "int8"])
@settings(max_examples=60)
@given(
    seeds=st.lists(
        st.lists(st.integers(10**6, 10**9), min_size=1, max_size=6), min_size=1, max_size=6
    )
)
def test_neighbours_change_an_answer_by_no_more_than_stated(
    variants: dict[str, LoadedModel],
    tolerance: dict[str, float],
    variant: str,
    seeds: list[list[int]],
) -> None:
    """Logits stay within the tolerance, and a label within it only where two were as good."""
    allowed = tolerance[variant]
    model = variants[variant]
    columns = model.no_features(1).shape[1]
    requests = [[make_row(seed, columns) for seed in request] for request in seeds]
    rows = [row for request in requests for row in request]
    exact = np.concatenate([scores(variants["fp32"], [row]) for row in rows])
    alone = np.concatenate([scores(model, [row]) for row in rows])
    together = np.concatenate(asyncio.run(through_scheduler(model, requests)))
    assert np.abs(together - exact).max() <= allowed
    assert np.abs(together - alone).max() <= 2 * allowed
    first, second = np.sort(exact, axis=1)[:, [-1, -2]].T
    clear = first - second > 2 * allowed
    assert (together.argmax(axis=1) == alone.argmax(axis=1))[clear].all()


def test_quantised_answers_do_lean_on_neighbours(variants: dict[str, LoadedModel]) -> None:
    """Else the property above would say nothing of eight bits."""
    columns = variants["int8"].no_features(1).shape[1]
    rows = [make_row(seed, columns) for seed in range(8)]
    alone = np.concatenate([scores(variants["int8"], [row]) for row in rows])
    assert np.abs(scores(variants["int8"], rows) - alone).max() > ROUNDING
