"""Training that is killed and started again, with real processes and real signals."""

from __future__ import annotations

import random
from pathlib import Path
from signal import SIGKILL, SIGTERM

import numpy as np
import pytest
import torch

from tests.training.fit_process import Kill, Outcome, Plan, run_fit

# All that a checkpoint must bring back is at work: accumulation, early stopping, class weights.
TRAINING = {
    "epochs": 3,
    "accumulate": 2,
    "patience": 2,
    "evaluate_steps": 5,
    "class_weights": "balanced",
}
STEPS = 3 * 12


@pytest.fixture(scope="module")
def alone(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Outcome]:
    """A fit in one process that nobody disturbed."""
    plan = Plan(tiny_encoder, tmp_path_factory.mktemp("alone"), TRAINING)
    return plan, run_fit(plan)


@pytest.fixture(scope="module")
def together(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Outcome]:
    """A fit in two processes that nobody disturbed."""
    plan = Plan(tiny_encoder, tmp_path_factory.mktemp("together"), TRAINING, world=2)
    return plan, run_fit(plan)


def checkpoint_steps(plan: Plan) -> list[int]:
    """Return the steps of the checkpoints that are there."""
    return sorted(int(path.stem.split("-")[1]) for path in plan.checkpoints.glob("step-*.pt"))


@pytest.mark.parametrize("seed", [1, 2])
def test_however_often_killed_the_weights_are_the_same(
    alone: tuple[Plan, Outcome], tmp_path: Path, seed: int
) -> None:
    """SIGKILL and SIGTERM at random steps, and SIGKILL while saving: not a bit differs."""
    chosen = random.Random(seed)  # noqa: S311 - steps, no secrets
    steps = sorted(chosen.sample(range(2, STEPS - 3), 5))
    kills = [Kill(chosen.choice([SIGKILL, SIGTERM]), step) for step in steps]
    kills.insert(chosen.randrange(4), Kill(SIGKILL, 0, saving=True))
    for kill in kills:
        plan = Plan(alone[0].base, tmp_path, TRAINING, kill)
        ended = run_fit(plan)
        assert ended.exit_codes == [-SIGKILL if kill.how is SIGKILL else 130], ended.said
        if kill.how is SIGTERM:
            assert checkpoint_steps(plan)[-1] == kill.step + 1
            assert ended.said == [f"interrupted after step {kill.step + 1} of {STEPS}"]
        assert len(checkpoint_steps(plan)) <= 2
    ended = run_fit(Plan(alone[0].base, tmp_path, TRAINING))
    assert ended.exit_codes == [0]
    assert ended.losses == alone[1].losses
    assert ended.weights == alone[1].weights


def test_two_processes_match_one(
    alone: tuple[Plan, Outcome], together: tuple[Plan, Outcome]
) -> None:
    """The same global batches in two processes: losses and weights differ by rounding alone."""
    np.testing.assert_allclose(together[1].losses, alone[1].losses, rtol=1e-4)
    one, two = (
        torch.load(plan.folder / "out-weights.pt", weights_only=True)
        for plan in (alone[0], together[0])
    )
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_all_at_the_same_step(
    together: tuple[Plan, Outcome], tmp_path: Path, rank: int
) -> None:
    """SIGTERM of any process: all end with the state saved; the restart ends with the same bits."""
    killed = Plan(together[0].base, tmp_path, TRAINING, Kill(SIGTERM, 7, rank=rank), world=2)
    ended = run_fit(killed)
    assert ended.exit_codes == [130, 130]
    assert ended.said == [f"interrupted after step 8 of {STEPS}"] * 2
    assert checkpoint_steps(killed)[-1] == 8
    again = run_fit(Plan(together[0].base, tmp_path, TRAINING, world=2))
    assert again.weights == together[1].weights


@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_process_ends_the_others_with_an_error(
    together: tuple[Plan, Outcome], tmp_path: Path, rank: int
) -> None:
    """SIGKILL of one process: the other says what happened; the restart ends with the same bits."""
    killed = Plan(together[0].base, tmp_path, TRAINING, Kill(SIGKILL, 10, rank=rank), world=2)
    ended = run_fit(killed)
    assert ended.exit_codes[rank] == -SIGKILL
    assert ended.exit_codes[1 - rank] == 1
    assert "found that another one ended" in ended.said[1 - rank]
    assert checkpoint_steps(killed)[-1] == 9
    again = run_fit(Plan(together[0].base, tmp_path, TRAINING, world=2))
    assert again.weights == together[1].weights


def test_another_number_of_processes_is_refused(alone: tuple[Plan, Outcome]) -> None:
    """A checkpoint of one process is not gone on with by two, whose sums round otherwise."""
    plan = alone[0]
    ended = run_fit(Plan(plan.base, plan.folder, TRAINING, world=2))
    assert ended.exit_codes == [1, 1]
    assert "found processes 1, not 2. Give --fresh" in ended.said[0]
    assert "another one ended" in ended.said[1]
