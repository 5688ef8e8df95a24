"""The processes of a fit: one, or several under torchrun that take the same steps together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from shared.errors import SettingsError, StateError

_PATIENCE = timedelta(minutes=30)
"""How long the others wait for one: it reads the rows before the first step."""
_Number = TypeVar("_Number", bound=np.generic)
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Processes:
    """Which of the processes this is, and what they do together."""

    rank: int = 0
    world: int = 1
    here: int = 1
    """How many of them run on this machine."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @property
    def main(self) -> bool:
        """Whether this is the process that reads rows, saves checkpoints and goes on after."""
        return self.rank == 0

    def sum_gradients(self, model: nn.Module) -> None:
        """Make each gradient the sum of those of all processes, in one exchange.

        DistributedDataParallel cuts gradients into buckets, and cuts them anew after its first
        step: the order of sums would depend on when a fit was resumed.
        """
        if self.world == 1:
            return
        gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
        total = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(total)
        start = 0
        for gradient in gradients:
            end = start + gradient.numel()
            gradient.copy_(total[start:end].view_as(gradient))
            start = end

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sum over all processes, the same in each."""
        if self.world == 1:
            return values
        total = torch.from_numpy(values).to(self.device)
        dist.all_reduce(total)
        summed: npt.NDArray[np.float64] = total.cpu().numpy()
        return summed

    def wait(self) -> None:
        """Return when all processes came here."""
        self.sum(np.zeros(1))

    def send(
        self, array: npt.NDArray[_Number] | None, dtype: type[_Number], *, dimensions: int = 1
    ) -> npt.NDArray[_Number]:
        """Return the main process's array in every process; the others give None.

        Args:
            array: what to send.
            dtype: its type, known to all.
            dimensions: how many it has, known to all.
        """
        if self.world == 1 and array is not None:
            return array
        shape = np.zeros(dimensions, np.int64) if array is None else np.array(array.shape)
        shape = self._broadcast(shape)
        return self._broadcast(np.empty(shape.tolist(), dtype) if array is None else array)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn the loss of another process into an error that says so.

        Raises:
            StateError: another process ended, or can't be reached.
        """
        try:
            yield
        except RuntimeError as error:
            lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
            if self.world == 1 or not lost:
                raise
            raise StateError(
                f"training process {self.rank} of {self.world}",
                expected="all processes to take each step together",
                found="that another one ended, or cannot be reached",
                remedy="See its message. Started again, training goes on from its checkpoint.",
            ) from error

    def _broadcast(self, array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        tensor = torch.from_numpy(array).to(self.device)
        dist.broadcast(tensor, src=0)
        received: npt.NDArray[_Number] = tensor.cpu().numpy()
        return received


@contextmanager
def processes_of(environment: Mapping[str, str]) -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun, be the only one.

    Args:
        environment: holds torchrun's variables, if it started this process.

    Raises:
        SettingsError: some of the variables are there, and some are not.
    """
    given = [name for name in _VARIABLES if name in environment]
    if not given:
        yield Processes(device=_device(0))
        return
    if len(given) < len(_VARIABLES):
        raise SettingsError(
            "environment",
            expected=f"all of {', '.join(_VARIABLES)}, or none",
            found=f"only {', '.join(given)}",
            remedy="Start several processes with torchrun.",
        )
    rank, world, local_rank, here = (int(environment[name]) for name in _VARIABLES)
    device = _device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank=rank, world=world, here=here, device=device)
    finally:
        dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
