"""Where and with what a benchmark ran, its results as a file, and how figures are written."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment(libraries: Iterable[str]) -> dict[str, Any]:
    """Return the date, the hardware and the versions of the libraries, as JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {
            "cpu": _field("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": machine_memory(),
            "load_average": os.getloadavg()[0],  # times on a busy machine compare badly
        },
        "versions": {
            "python": platform.python_version(),
            **{library: _version(library) for library in libraries},
        },
    }


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def describe(environment: dict[str, Any]) -> str:
    """Return the environment as one line for people."""
    hardware = environment["hardware"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    memory = gibibytes(hardware["memory_bytes"])
    return f"{hardware['cpu']}, {hardware['cores']} cores, {memory}; {versions}"


def publish(output: Path, benchmark: str, libraries: Iterable[str], found: dict[str, Any]) -> str:
    """Write what a benchmark found and where it ran; return the latter as one line for people."""
    where = environment(libraries)
    write_results(output, {"benchmark": benchmark, "environment": where, **found})
    return describe(where)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON; what stands there is replaced once all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(results, indent=2) + "\n")
    unfinished.replace(path)


def ratio_line(values: Mapping[str, float | None]) -> str:
    """Return ratios as the last line of a benchmark; whole numbers are counts.

    >>> ratio_line({"rows": 200000, "time": 1.254, "duckdb_speedup": None})
    'RATIO rows=200000 time=1.25 duckdb_speedup=n/a'
    """
    return " ".join(["RATIO", *(f"{name}={_ratio(value)}" for name, value in values.items())])


def gibibytes(number: float) -> str:
    """Return bytes as GiB.

    >>> gibibytes(3 * 2**29)
    '1.50 GiB'
    """
    return f"{number / 2**30:.2f} GiB"


def duration(seconds: float) -> str:
    """Return seconds with three digits that count.

    >>> duration(0.02345), duration(0.2345), duration(12.345), duration(123.45)
    ('23 ms', '234 ms', '12.3 s', '123 s')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"  # noqa: PLR2004 - digits


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows in aligned columns: what begins with a digit to the right, words to the left.

    >>> print(text_table(["rows", "store"], [["20", "bare"], ["2,000", "this one"]]))
     rows  store
       20  bare
    2,000  this one
    """
    body = [list(row) for row in rows]
    columns = list(zip(header, *body, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(cell[:1].isdigit() for cell in column) for column in columns]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [list(header), *body]
    )
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _field(path: str, pattern: str) -> str | None:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
