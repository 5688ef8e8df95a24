"""The rows of ``mention_text`` of a whole history, computed on all cores.

Texts are normalised and hashed one by one in Python, by the definition that serving uses too
(``shared.text``). It holds one core; so a large history goes to a process for each, which calls
that same definition on a slice of the mentions.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import polars as pl

from feature_pipeline.definition.mention_features import mention_text

SLICE_ROWS = 50_000
"""Mentions that a process is sent at a time."""
FEW_ROWS = 2 * SLICE_ROWS
"""So many take half a second here, for which no processes are started."""


def text_rows(
    mentions: pl.DataFrame, few_rows: int = FEW_ROWS, slice_rows: int = SLICE_ROWS
) -> pl.DataFrame:
    """Return what ``mention_text`` returns.

    Args:
        mentions: ``records.MENTION_SCHEMA`` rows.
        few_rows: no more than these are computed in this process.
        slice_rows: a process gets so many at a time.

    Raises:
        BrokenProcessPool: a process was killed, perhaps for want of memory.
    """
    cores = len(os.sched_getaffinity(0))
    if mentions.height <= few_rows or cores == 1:
        return mention_text(mentions)
    # Forked processes would inherit locks that threads of Polars hold, hence new ones.
    with ProcessPoolExecutor(cores, get_context("spawn"), _leave_interrupts) as processes:
        return pl.concat(processes.map(mention_text, mentions.iter_slices(slice_rows)))


def _leave_interrupts() -> None:
    """Let Ctrl-C end the parent, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
