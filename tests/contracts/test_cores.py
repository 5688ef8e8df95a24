"""How many cores the process has, by affinity and by control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.cores import available_cores

AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({}, AFFINITY),
        ({"a/b": "max 100000"}, AFFINITY),
        ({"a/b": "100000 100000"}, 1),
        ({"a/b": "max 100000", "a": "100000 100000"}, 1),
        ({"a/b": "50000 100000"}, 1),
        ({"": "100000 100000"}, 1),
        ({"other": "100000 100000"}, AFFINITY),
        ({"a/b": "99900000 100000"}, AFFINITY),
    ],
    ids=[
        "no limit",
        "limit lifted",
        "own limit",
        "parent's limit",
        "half a core is one",
        "the root's limit",
        "a neighbour's limit",
        "a limit above the machine",
    ],
)
def test_the_tightest_bound_counts(tmp_path: Path, limits: dict[str, str], cores: int) -> None:
    """Quotas of the own group and its parents bound the cores; one is the least."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    own = tmp_path / "cgroup"
    own.write_text("0::/a/b\n")
    for group, limit in limits.items():
        (tmp_path / group / "cpu.max").write_text(f"{limit}\n")
    assert available_cores(tmp_path, own) == cores


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    """Where there are no groups, affinity decides."""
    assert available_cores(tmp_path, tmp_path / "none") == AFFINITY
