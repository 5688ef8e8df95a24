"""Fresh processes are measured, and stopped where they pass a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import Ended, Limits, measured, run_fresh

MIB = 2**20


def watch(folder: Path, order: str, *, seconds: float = 30, memory: int = 400 * MIB) -> Ended:
    return run_fresh("tests.benchmarks.hungry", [order], folder, Limits(seconds, memory))


def test_memory_of_a_step_is_told_apart_from_what_was_held() -> None:
    """What a step takes and gives back shows as its peak, and not in the next step."""
    held = bytearray(100 * MIB)
    _, step = measured(lambda: len(bytearray(64 * MIB)))
    _, after = measured(lambda: len(held))
    assert 60 * MIB < step.above_bytes < 90 * MIB
    assert step.held_bytes > 100 * MIB
    assert after.above_bytes < 10 * MIB


def test_answer_comes_back(tmp_path: Path) -> None:
    """A process that is done hands over its JSON."""
    ended = watch(tmp_path, "answer")
    assert ended.how == "done"
    assert ended.answer == {"pages": 3}


@pytest.mark.parametrize(
    ("order", "limits", "how"),
    [
        ("eat", {}, "memory limit"),
        ("sleep", {"seconds": 0.3}, "time limit"),
        ("break", {}, "broke"),
    ],
)
def test_end_that_is_not_an_answer_is_told(
    tmp_path: Path, order: str, limits: dict[str, float], how: str
) -> None:
    """A process that passes a limit is stopped at once; one that breaks is told from it."""
    ended = watch(tmp_path, order, **limits)  # type: ignore[arg-type] # only ``seconds`` is given
    assert ended.how == how
    assert ended.seconds < 20
    assert ended.last_error == ("ValueError: nothing left" if order == "break" else "")
