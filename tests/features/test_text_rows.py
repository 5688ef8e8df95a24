"""Texts computed in processes: the same rows, and nobody left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
from polars.testing import assert_frame_equal

from feature_pipeline.batch import text_rows as module
from feature_pipeline.batch.text_rows import text_rows
from feature_pipeline.definition.mention_features import mention_text
from shared.errors import StateError
from tests.features.text_processes import be_killed, mentions

SECONDS = 60


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has two cores, so that there are processes."""
    monkeypatch.setattr(module, "available_cores", lambda: 2)


def test_texts_of_processes_are_those_of_the_definition() -> None:
    """Cut into slices for processes, rows are the same and in the same order."""
    texts = ["RT @ann: NOT &amp; late  http://t.co/1", "cafe\u0301!", "a\u200bb \U0001f44d\ufe0f"]
    known = mentions(*(f"{texts[number % 3]} {number}" for number in range(20)))
    assert_frame_equal(text_rows(known, few_rows=0, slice_rows=7), mention_text(known))


def test_processes_end_with_a_parent_that_is_killed() -> None:
    """A parent that is killed cannot end its processes: they do so themselves."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.features.text_processes"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["running\n"] * 2
        parent.terminate()
        # They share the parent's output, which ends with the last of them.
        ended, _, _ = select.select([parent.stdout], [], [], SECONDS)
        if not ended:
            os.killpg(parent.pid, signal.SIGKILL)
        assert ended
        assert parent.stdout.read() == ""


def test_killed_process_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed, as for want of memory, is an error with a remedy."""
    monkeypatch.setattr(module, "mention_text", be_killed)
    with pytest.raises(StateError, match="wanted memory: give more, or fewer cores"):
        text_rows(mentions("one", "two"), few_rows=0, slice_rows=1)


def test_no_process_without_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is one slice is computed here, where a process would be killed."""
    monkeypatch.setattr(module, "get_context", None)
    known = mentions("one", "two")
    assert_frame_equal(text_rows(known, few_rows=0, slice_rows=2), mention_text(known))
