"""Memory of versions that are gone, which the C library keeps for later."""

from __future__ import annotations

import ctypes
from functools import cache


def give_back_freed_memory() -> None:
    """Hand what is free over to the system. It takes some tens of milliseconds.

    Glibc keeps what was freed in the arena of the thread that had asked for it, and a version is
    loaded by one thread, run by others: after twelve swaps a process held five times the memory of
    its model. Other C libraries have no such call, and no such arenas.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
