"""One training on several processes: each has the whole model and takes its share of every batch.

The processes are started by `torchrun`, or on several GPUs by `accelerate launch`; without GPUs the latter starts only
one. Gradients are summed by hand after the backward pass, not by a wrapper around the encoder. A method may run the
encoder several times a step, through hooks, and has parameters of its own.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

VALUE = TypeVar("VALUE")


@dataclass(frozen=True)
class Replicas:
    """The processes of a training, as one of them sees them. All must make the same calls in the same order."""

    accelerator: Accelerator

    @property
    def count(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    @property
    def number(self) -> int:
        """Number of this process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """True for the process that reports, saves and measures."""
        return self.number == 0

    @property
    def device(self) -> torch.device:
        """The device on which this process computes."""
        device: torch.device = self.accelerator.device
        return device

    def take_share(self, indices: Sequence[int]) -> tuple[list[int], int]:
        """This process's part of a batch, and the number of its rows that count.

        If a batch has fewer rows than there are processes, those left over compute its first row, which counts nothing.
        So all processes take the same steps, and a method's own counts stay the same in all of them.
        """
        mine = list(indices[self.number :: self.count])
        return (mine, len(mine)) if mine else ([indices[0]], 0)

    def separate_draws(self, seed: int, batch: int) -> None:
        """Give each process random draws of its own, a pure function of the seed and the batch's number.

        A process that trains alone keeps the stream that it has.
        """
        if self.count > 1:
            torch.manual_seed(random.Random(f"{seed}/{batch}/{self.number}").getrandbits(63))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes; a parameter without any gradient keeps none."""
        if self.count == 1:
            return
        everyone = [parameter for parameter in parameters if parameter.requires_grad]
        used = torch.tensor([parameter.grad is not None for parameter in everyone], device=self.device)
        used = self.accelerator.reduce(used.int(), reduction="sum") > 0
        gradients = []
        for parameter in (one for one, is_used in zip(everyone, used.tolist(), strict=True) if is_used):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self._sum(gradients)

    def average(self, tensors: Iterable[Tensor], share: float) -> None:
        """Replace every tensor of floats by its mean over all processes, each weighted by its share of the batch."""
        if self.count == 1:
            return
        with torch.no_grad():
            floats = [tensor for tensor in tensors if tensor.is_floating_point()]
            for tensor in floats:
                tensor.mul_(share)
            self._sum(floats)

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        """The sum over all processes of each named number."""
        if self.count == 1:
            return values
        everyone: list[dict[str, float]] = gather_object([values])
        names = dict.fromkeys(name for one in everyone for name in one)
        return {name: sum(one.get(name, 0.0) for one in everyone) for name in names}

    def any(self, claim: bool) -> bool:
        """True if the claim is true in any process."""
        if self.count == 1:
            return claim
        return bool(self.accelerator.reduce(torch.tensor(int(claim), device=self.device), reduction="sum") > 0)

    def from_main(self, value: VALUE) -> VALUE:
        """The main process's value, in every process."""
        said: list[VALUE] = broadcast_object_list([value])
        return said[0]

    def wait(self) -> None:
        """Return when all processes have called this."""
        self.accelerator.wait_for_everyone()

    def _sum(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        # One message for all of them costs less than one for each.
        joined = self.accelerator.reduce(torch.cat([tensor.flatten() for tensor in tensors]), reduction="sum")
        for tensor, summed in zip(tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def join_replicas() -> Replicas:
    """The processes that this one was started with, or this one alone."""
    # The loop sets the precision: accelerate would keep one for the whole process, evaluation included. Without an
    # accelerator device it must be told to use the CPU, or it does not join processes that torchrun started.
    return Replicas(Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available()))
