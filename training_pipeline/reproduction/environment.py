"""The environment of a run: libraries, the lock file and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

from shared.manifest import sha256_of
from training_pipeline.fit import Processes
from training_pipeline.reproduction.record import Code, Environment, Machine

LOCK_FILE = Path(__file__).parents[2] / "constraints.txt"
_LIBRARIES = (
    "deltalake",
    "feast",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "polars",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)
_CPU_INFO = Path("/proc/cpuinfo")
_MODEL, _FLAGS = ("model name", "Model"), ("flags", "Features")
"""How x86 and Arm name them."""
_KERNEL_FLAGS = ("sse4", "avx", "fma", "amx", "asimd", "sve", "bf16", "i8mm")


def present_environment(code: Code, processes: Processes) -> Environment:
    """Return the environment of this process.

    Args:
        code: the code that runs.
        processes: that take part.
    """
    return Environment(
        code=code,
        lock_sha256=lock_sha256(),
        libraries=libraries(),
        machine=machine(),
        world=processes.world,
        device=processes.device.type,
    )


def libraries() -> dict[str, str]:
    """Return the versions of what computes or reads."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def lock_sha256(lock_file: Path = LOCK_FILE) -> str | None:
    """Return the hash of the file that pins all packages, if it is beside the code."""
    return sha256_of(lock_file) if lock_file.is_file() else None


def machine() -> Machine:
    """Return what of this machine decides how numbers are rounded."""
    told = _cpu_info()
    flags = next((told[name] for name in _FLAGS if name in told), "").split()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()}, {' '.join(platform.libc_ver())}",
        architecture=platform.machine(),
        cpu=next((told[name] for name in _MODEL if name in told), platform.processor()),
        cpu_flags=sorted({flag for flag in flags if flag.startswith(_KERNEL_FLAGS)}),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        gpus=[torch.cuda.get_device_name(number) for number in gpus],
        cuda=torch.version.cuda if gpus else None,
        cudnn=torch.backends.cudnn.version() if gpus else None,  # type: ignore[no-untyped-call]  # torch's
        threads=len(os.sched_getaffinity(0)),
    )


def _cpu_info() -> dict[str, str]:
    """Return what Linux tells of the first processor; nothing elsewhere."""
    if not _CPU_INFO.is_file():
        return {}
    first = _CPU_INFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
