"""A supervised process: what its standard input tells it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from training_pipeline.supervision import GO_AHEAD, STILL_WANTED

END_SECONDS = 30.0
CHILD = """
import sys
from shared.logs import configure_logs
from training_pipeline.supervision import Supervised, Supervision
configure_logs("training")
supervision = Supervision(float(sys.argv[1]))
supervision.start()
progress = Supervised(sys.stdout, supervision)
progress.stage("gate")
progress.stage("register")
print("registered", flush=True)
"""


def start(patience: float, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(patience)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment or None,
    )


def said(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def test_a_result_is_registered_when_the_parent_says_so() -> None:
    """It waits for the word, though lines come that only say that it is wanted."""
    with start(60.0) as process:
        assert [line.split(",")[0] for line in said(process, 2)] == [
            '{"stage": "gate"',
            '{"stage": "register"',
        ]
        say(process, STILL_WANTED)
        say(process, STILL_WANTED + GO_AHEAD)
        assert said(process, 1) == ["registered"]
        assert process.wait(END_SECONDS) == 0


@pytest.mark.parametrize("rank", ["0", "1"])
def test_it_ends_with_its_parent(rank: str) -> None:
    """Whatever ends the parent closes the input; of several processes all see it."""
    with start(60.0, RANK=rank) as process:
        said(process, 2)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(END_SECONDS) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_it_ends_when_nobody_speaks() -> None:
    """A parent that stands still may have lost the run; as long as it speaks, all is well."""
    with start(2.0) as process:
        said(process, 2)
        for _ in range(12):
            time.sleep(0.25)  # longer in all than the patience
            say(process, STILL_WANTED)
        assert process.poll() is None
        assert process.wait(END_SECONDS) == 130
        assert process.stderr is not None
        assert "said nothing for 2 s" in process.stderr.read()
