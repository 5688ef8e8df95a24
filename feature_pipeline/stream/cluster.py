"""Several worker processes over the partitions of one log: a Bytewax cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from shared.errors import InputError, StateError
from shared.logs import get_logger

_DRAIN_SECONDS = 30.0
"""How long processes may take to save their state when they are asked to stop."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class ClusterMember:
    """One process of a cluster.

    Attributes:
        process: its number, from 0; the cluster starts when all are there.
        addresses: of all processes, in order, as ``host:port``. They trust who connects: keep them
            on a network of their own.
    """

    process: int
    addresses: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.process >= len(self.addresses):
            raise InputError(
                "--process-id",
                expected=f"a number below that of the addresses, {len(self.addresses)}",
                found=str(self.process),
                remedy="Processes are counted from 0.",
            )

    @property
    def place_on_host(self) -> int:
        """How many processes before this one have the same host, and so share its ports.

        >>> ClusterMember(2, ("a:2101", "b:2101", "a:2102")).place_on_host
        1
        """
        hosts = [address.rpartition(":")[0] for address in self.addresses]
        return hosts[: self.process].count(hosts[self.process])


def run_cluster(processes: int, run_member: Callable[[ClusterMember], None]) -> None:
    """Run a cluster on this machine until SIGTERM or Ctrl-C, or until one process ends.

    A cluster lives and dies as a whole: the others cannot go on without the state of one, and
    started again all of them go on from the last epoch that all have saved.

    Args:
        processes: how many.
        run_member: what a process does; it must be picklable.

    Raises:
        StateError: a process ended by itself. The others are ended then.
    """
    addresses = _free_addresses(processes)
    context = multiprocessing.get_context("spawn")
    members = [
        context.Process(
            target=_run_while_supervised,
            args=(run_member, ClusterMember(number, addresses)),
            name=f"stream-{number}",
        )
        for number in range(processes)
    ]
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        for member in members:
            if member.pid is not None:
                member.terminate()

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, stop)
    try:
        started = _start(members, stopping)
        if stopping.is_set():
            stop()  # one that was just being started had no number to be told by
        _log.info("stream cluster started", processes=[member.pid for member in started])
        first = wait([member.sentinel for member in started]) if started else []
        for member in started:
            if stopping.is_set() or member.sentinel in first:
                member.join(_DRAIN_SECONDS)
        _check_ends(started, stopping=stopping.is_set())
    finally:
        for member in members:
            if member.is_alive():
                member.kill()  # nothing is lost: it is what they are made for
                member.join()


def _start(members: Sequence[SpawnProcess], stopping: threading.Event) -> list[SpawnProcess]:
    """Start members until told to stop; return those that were started."""
    started = []
    for member in members:
        if stopping.is_set():
            break
        member.start()
        started.append(member)
    return started


def _check_ends(members: Sequence[SpawnProcess], *, stopping: bool) -> None:
    """Raise an error unless all processes ended because they were asked to."""
    asked = {0, -signal.SIGTERM} if stopping else set()
    ended = {m.name: m.exitcode for m in members if m.exitcode not in {None, *asked}}
    if ended or not stopping:
        found = ", ".join(f"{name} ended with exit code {code}" for name, code in ended.items())
        raise broken_cluster(found or "one that ended")


def broken_cluster(found: str) -> StateError:
    """Return the error for a cluster of which a process is gone."""
    return StateError(
        "stream cluster",
        expected="all processes running until they are stopped",
        found=found,
        remedy="The log tells why. Start all of them again: they go on from the last epoch.",
    )


def _run_while_supervised(
    run_member: Callable[[ClusterMember], None], member: ClusterMember
) -> None:
    """Run one process; stop it when the one that started it is gone."""
    supervisor = multiprocessing.parent_process()

    def follow() -> None:
        if supervisor is not None:
            supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    run_member(member)


def _free_addresses(count: int) -> tuple[str, ...]:
    """Return addresses of loopback ports that nobody uses."""
    with ExitStack() as open_sockets:
        listeners = [
            open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
