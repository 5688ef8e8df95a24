"""The fastest variant is the one whose passes are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inference_pipeline.versions.variants import fastest


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"fp32": 4.0}, "fp32"),
        ({"fp32": 4.0, "int8": 2.0}, "int8"),
        ({"fp32": 2.0, "int8": 4.0}, "fp32"),
        ({"fp32": 4.0, "int8": 3.9}, "fp32"),
        ({"fp32": 4.0, "bf16": 3.0, "int8": 2.0}, "int8"),
    ],
    ids=["alone", "faster", "slower", "hardly faster", "the fastest of three"],
)
def test_the_fastest_is_measured(seconds: dict[str, float], chosen: str) -> None:
    """A less exact variant must be faster by a tenth."""
    now = 0.0

    def taking(duration: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            now += duration

        return run

    assert fastest({name: taking(s) for name, s in seconds.items()}, lambda: now) == chosen


def test_one_disturbed_round_decides_nothing() -> None:
    """A pass that something else delayed does not make its variant the slower one."""
    now = 0.0
    delays = iter([10.0])

    def disturbed() -> None:
        nonlocal now
        now += 1.0 + next(delays, 0.0)

    def steady() -> None:
        nonlocal now
        now += 2.0

    assert fastest({"fp32": steady, "int8": disturbed}, lambda: now) == "int8"
