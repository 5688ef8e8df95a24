"""The rows of ``mention_text`` of a whole history, computed on several cores.

Texts are normalised and hashed one by one in Python, by the definition that serving uses too
(``shared.text``). It holds one core; so a large history goes to processes, which call
that same definition on a slice of the mentions.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread

import polars as pl

from feature_pipeline.definition.mention_features import mention_text
from shared.cores import available_cores
from shared.errors import StateError

SLICE_ROWS = 50_000
"""Mentions that a process is sent at a time."""
FEW_ROWS = 2 * SLICE_ROWS
"""So many take half a second here, for which no processes are started."""
MOST_PROCESSES = 8
"""More would wait for this process, which sends and takes what they work on."""


def text_rows(
    mentions: pl.DataFrame, few_rows: int = FEW_ROWS, slice_rows: int = SLICE_ROWS
) -> pl.DataFrame:
    """Return what ``mention_text`` returns.

    Args:
        mentions: ``records.MENTION_SCHEMA`` rows.
        few_rows: no more than these are computed in this process.
        slice_rows: a process gets so many at a time.

    Raises:
        StateError: a process was killed, or could not start.
    """
    slices = -(-mentions.height // slice_rows)
    count = min(available_cores(), slices, MOST_PROCESSES)
    if mentions.height <= few_rows or count <= 1:
        return mention_text(mentions)
    # Forked processes would inherit locks that threads of Polars hold, hence new ones.
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), _end_with_parent) as processes:
            return pl.concat(processes.map(mention_text, mentions.iter_slices(slice_rows)))
    except BrokenProcessPool as error:
        raise StateError(
            f"{count} processes that compute texts",
            expected="each to live until all texts are done",
            found="one that was killed or did not start",
            remedy="It may have wanted memory: give more, or fewer cores. A script that calls the"
            ' backfill does so below `if __name__ == "__main__":`, since the processes import it.',
        ) from error


def _end_with_parent() -> None:
    """End when the parent does, however it ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    """End this process when the parent is gone; a killed one could not ask it to."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
