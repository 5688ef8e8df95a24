"""Several worker processes over the partitions of one log do what one does."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event

import pytest

from feature_pipeline.stream.cluster import ClusterMember, run_cluster
from shared.features import ROLES, activity_view
from shared.file_lock import hold_file
from tests.features.pipeline_processes import PipelineProcesses, kill
from tests.features.stream_process import free_port, until

PARTITIONS = 4
SECONDS = 150.0
"""Each process imports for seconds, and they share what cores there are."""


def home(folder: Path) -> PipelineProcesses:
    return PipelineProcesses(
        folder, {"FTI_FEATURES_READ_LIMIT": "100", "FTI_LOG_FORMAT": "json"}, PARTITIONS
    )


def members(pipeline: PipelineProcesses, count: int) -> list[BaseProcess]:
    """Start the processes of a cluster, each told its number and the addresses of all."""
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(count))
    return [
        pipeline.start("stream", "--process-id", str(number), "--addresses", addresses)
        for number in range(count)
    ]


def supervised(pipeline: PipelineProcesses) -> subprocess.Popen[bytes]:
    """Start two workers as people do on one machine."""
    with pipeline.output.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "feature_pipeline", "stream", "--workers", "2"],
            env=pipeline.environment,
            stdout=output,
            stderr=output,
        )


def backlog(pipeline: PipelineProcesses) -> int:
    with closing(pipeline.open_log()) as log:
        return log.backlog()


def workers_of(pipeline: PipelineProcesses) -> list[int]:
    """Return the process ids that the last cluster told of."""
    lines = [line for line in pipeline.printed().splitlines() if "cluster started" in line]
    found: list[int] = json.loads(lines[-1])["processes"]
    return found


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.timeout(400)
def test_three_processes_do_what_one_does(tmp_path: Path) -> None:
    """With one of three killed all end, two go on: the stores end as one worker leaves them.

    Two processes where three were before show that states move to other processes, too.
    """
    many, one = home(tmp_path / "many"), home(tmp_path / "one")
    many.append(0, 400)
    shutil.copytree(many.home, one.home, dirs_exist_ok=True)
    three = members(many, 3)
    until(lambda: many.written("mention_text").height > 0, "the first write", SECONDS)
    kill(three[1])
    for process in three:
        process.join(60)
    assert [process.exitcode for process in three] == [1, -signal.SIGKILL, 1], many.printed()
    assert "stream cluster: expected all processes running" in many.printed()
    two = members(many, 2)
    until(lambda: backlog(many) == 0, "two processes to catch up", SECONDS)
    for process in two:
        process.terminate()
    for process in two:
        process.join(60)
    assert [process.exitcode for process in two] == [0, 0], many.printed()
    with one.running("stream"):
        until(lambda: backlog(one) == 0, "one worker to catch up")
    expected = many.expected(max(many.events))
    many.assert_complete(expected)
    one.assert_complete(expected)
    for role in ROLES:
        order = [f"{role}_id", "event_timestamp"]
        found, wanted = many.written(activity_view(role)), one.written(activity_view(role))
        assert found.sort(order).equals(wanted.sort(order))


@pytest.mark.timeout(400)
def test_workers_of_one_machine_start_and_end_together(tmp_path: Path) -> None:
    """They stop when asked to, and when one of them is killed."""
    pipeline = home(tmp_path / "home")
    pipeline.append(0, 40)
    asked = supervised(pipeline)
    until(lambda: backlog(pipeline) == 0, "two workers to catch up", SECONDS)
    asked.terminate()
    assert asked.wait(60) == 0, pipeline.printed()
    pipeline.assert_complete(pipeline.expected(max(pipeline.events)))

    broken = supervised(pipeline)
    until(lambda: pipeline.printed().count("cluster started") == 2, "the start", SECONDS)
    os.kill(workers_of(pipeline)[1], signal.SIGKILL)
    assert broken.wait(60) == 1
    assert "stream-1 ended with exit code -9" in pipeline.printed()
    assert all(is_gone(process) for process in workers_of(pipeline))


def test_no_other_writer_runs_beside_a_cluster(tmp_path: Path) -> None:
    """A single worker is refused, and so is a second process of the same number."""
    pipeline = home(tmp_path / "home")
    pair = members(pipeline, 2)
    until(lambda: pipeline.printed().count("stream worker started") == 2, "the start")
    for others in ([pipeline.start("stream")], members(pipeline, 2)):
        for process in others:
            process.join(60)
        assert {process.exitcode for process in others} == {1}
    assert all(process.is_alive() for process in pair)
    for process in pair:
        kill(process)


def test_a_process_of_a_cluster_tells_why_it_ended(tmp_path: Path) -> None:
    """What one process found is told, not only that the cluster broke."""
    pipeline = home(tmp_path / "home")
    pipeline.append(0, 40)
    with closing(pipeline.open_log()) as log:
        for partition in range(log.partitions):
            end = log.read(partition, 0, 100).position
            log.acknowledge(partition, end)
            log.trim(partition, end)
    processes = members(pipeline, 2)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [1, 1]
    assert "rebuild the features from the offline tables" in pipeline.printed()


class StoppedAtStart:
    """Runs until it is ended. Just when it is handed to a process, SIGTERM comes."""

    def __init__(self) -> None:
        self.handed = 0

    def __getstate__(self) -> dict[str, int]:
        self.handed += 1
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    def __call__(self, member: ClusterMember) -> None:
        del member
        Event().wait()


def test_a_cluster_that_is_stopped_while_it_starts_ends() -> None:
    """No further process is started, and the one that was being started is told, too."""
    run_member = StoppedAtStart()
    signs = (signal.SIGTERM, signal.SIGINT)
    handlers = {sign: signal.getsignal(sign) for sign in signs}
    try:
        run_cluster(3, run_member)
    finally:
        for sign, handler in handlers.items():
            signal.signal(sign, handler)
    assert run_member.handed == 1
    assert not [one for one in multiprocessing.active_children() if "stream-" in one.name]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--process-id", "0"), "expected both, or neither"),
        (("--process-id", "2", "--addresses", "a:1,b:2"), "a number below that of the addresses"),
        (("--addresses", "a", "--process-id", "0"), "expected HOST:PORT"),
        (("--workers", "0"), "expected one or more"),
    ],
)
def test_a_cluster_that_cannot_be_is_told(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """What is wrong with the addresses or the number is an error that says so."""
    pipeline = home(tmp_path / "home")
    process = pipeline.start("stream", *arguments)
    process.join(60)
    assert process.exitcode in {1, 2}
    assert told in pipeline.printed()


def test_a_cluster_is_refused_beside_another_writer(tmp_path: Path) -> None:
    """While one worker or a backfill writes the features, no process of a cluster starts."""
    pipeline = home(tmp_path / "home")
    with hold_file(pipeline.home / "features" / "writer.lock", place="", remedy=""):
        process = pipeline.start("stream", "--process-id", "0", "--addresses", "127.0.0.1:1")
        process.join(60)
    assert process.exitcode == 1
    assert "stop it first" in pipeline.printed()
