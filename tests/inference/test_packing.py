"""Which rows share a batch: properties over random queues."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from inference_pipeline.engine.packing import WINDOW, next_batch


@dataclass(frozen=True)
class Waiting:
    """A row that waits."""

    tokens: int
    model: str = "a"


MODELS = ("a", "b")
QUEUES = st.lists(
    st.builds(Waiting, st.integers(1, 128), st.sampled_from(MODELS)), min_size=1, max_size=60
)
BUDGETS = st.integers(1, 1024)


@given(QUEUES, BUDGETS)
def test_the_most_urgent_row_always_runs(queue: list[Waiting], budget: int) -> None:
    """Nothing starves: whatever else is chosen, the first row is."""
    assert next_batch(queue, token_budget=budget)[0] == 0


@given(QUEUES, BUDGETS)
def test_a_batch_keeps_its_bounds(queue: list[Waiting], budget: int) -> None:
    """Positions are distinct and ascending, of one model, within the budget and little padded."""
    chosen = next_batch(queue, token_budget=budget, max_padding=0.25)
    assert chosen == sorted(set(chosen))
    rows = [queue[position] for position in chosen]
    assert {row.model for row in rows} == {queue[0].model}
    padded = max(row.tokens for row in rows) * len(rows)
    assert len(rows) == 1 or padded <= budget
    assert padded - sum(row.tokens for row in rows) <= 0.25 * padded


@given(st.integers(1, 100), st.integers(1, 40), st.integers(1, 1024))
def test_rows_of_one_length_fill_the_budget(tokens: int, rows: int, budget: int) -> None:
    """With nothing to lose on padding, no room of the budget stays empty."""
    chosen = next_batch([Waiting(tokens)] * rows, token_budget=budget)
    assert len(chosen) == max(1, min(rows, budget // tokens))


@given(QUEUES, BUDGETS)
def test_taking_batches_empties_the_queue(queue: list[Waiting], budget: int) -> None:
    """Batch after batch, every row runs once."""
    left = list(enumerate(queue))
    ran = []
    while left:
        chosen = next_batch([row for _, row in left], token_budget=budget)
        ran += [left[position][0] for position in chosen]
        left = [item for position, item in enumerate(left) if position not in chosen]
    assert sorted(ran) == list(range(len(queue)))


def test_an_empty_queue_gives_no_batch() -> None:
    """There is nothing to run where nothing waits."""
    assert next_batch([], token_budget=10) == []


def test_a_long_queue_is_not_searched_to_its_end() -> None:
    """A row far behind waits for its turn, so that packing stays cheap."""
    queue = [Waiting(10), *[Waiting(100)] * WINDOW, Waiting(10)]
    assert next_batch(queue, token_budget=1000) == [0]
