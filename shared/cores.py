"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def available_cores(cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """Return the cores that this process really has, at least one.

    The machine's core count misleads in a container: the scheduler's affinity mask and the CPU
    quotas of the process's control group and its parents (cgroup v2) both bound it.

    Args:
        cgroups: where the control groups are mounted.
        own_cgroup: the file that names the control group of this process.
    """
    affinity = len(os.sched_getaffinity(0))
    quotas = [
        quota
        for folder in _own_folders(cgroups, own_cgroup)
        if (quota := _quota(folder / "cpu.max")) is not None
    ]
    return max(1, int(min([affinity, *quotas])))


def _own_folders(cgroups: Path, own_cgroup: Path) -> list[Path]:
    """Return the folders of this process's control group and of its parents, innermost first."""
    lines = own_cgroup.read_text().splitlines() if own_cgroup.is_file() else []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    own = cgroups / path
    return [own, *(parent for parent in own.parents if parent.is_relative_to(cgroups))]


def _quota(cpu_max: Path) -> float | None:
    """Return the cores that a ``cpu.max`` file grants, or None where it sets no bound."""
    if not cpu_max.is_file():
        return None
    quota, period = cpu_max.read_text().split()
    return None if quota == "max" else int(quota) / int(period)
