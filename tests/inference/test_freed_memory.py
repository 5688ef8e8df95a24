"""Freed memory leaves the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap

import pytest

FREES = textwrap.dedent(
    """
    import threading
    from pathlib import Path

    import numpy as np

    from inference_pipeline.versions.freed_memory import give_back_freed_memory


    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


    def fill():
        # Too small for mappings of their own; the last one holds the end of the arena.
        blocks.extend(np.ones(8_000) for _ in range(2_000))


    blocks = []
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    del blocks[:-1]
    before = resident()
    give_back_freed_memory()
    print(before - resident())
    """
)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_a_thread_has_freed_is_given_back() -> None:
    """Of 128 MB that another thread had asked for and that are free, most leave the process."""
    done = subprocess.run(
        [sys.executable, "-c", FREES], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) > 100_000_000
