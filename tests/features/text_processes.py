"""A process whose text processes never finish, and what they do instead: for tests."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from unittest.mock import patch

import polars as pl

from feature_pipeline.batch import text_rows
from feature_pipeline.definition.records import KnownMention, mention_table
from shared.events import Mention
from tests.features.conftest import START


def mentions(*texts: str) -> pl.DataFrame:
    """Return a mention of each text."""
    return mention_table(
        KnownMention(
            Mention(
                mention_id=f"m{number}",
                subject_id="s",
                source_id="a",
                text=text,
                published_at=START,
            ),
            START + timedelta(seconds=number),
        )
        for number, text in enumerate(texts)
    )


def never_end(rows: pl.DataFrame) -> pl.DataFrame:
    """Tell that the process runs, and go on for ever."""
    sys.stdout.write("running\n")
    sys.stdout.flush()
    while True:
        signal.pause()
    return rows


def be_killed(rows: pl.DataFrame) -> pl.DataFrame:
    """End as a process does that wanted too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return rows


if __name__ == "__main__":
    with (
        patch.object(text_rows, "available_cores", lambda: 2),
        patch.object(text_rows, "mention_text", never_end),
    ):
        text_rows.text_rows(mentions("one", "two"), few_rows=0, slice_rows=1)
