"""The processes that train together: torchrun or accelerate starts them, torch.distributed ties."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

# Between two messages: the others wait while the first one validates, or waits for a lock. It need
# not be short for a process that dies: the launcher then ends them all.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is number `rank`; by default one alone."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "World":
        """The group that the launcher's environment variables name; alone where there are none."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process validates, saves and prints for all."""
        return self.rank == 0

    def part(self, count: int, rank: int | None = None) -> slice:
        """Which of `count` items of a batch a process encodes, this one by default."""
        rank = self.rank if rank is None else rank
        return slice(count * rank // self.size, count * (rank + 1) // self.size)

    def gather(self, mine: torch.Tensor, count: int) -> torch.Tensor:
        """The (count, ...) rows of all processes, of which `mine` are this one's `part`."""
        if self.size == 1:
            return mine
        parts = [self.part(count, rank) for rank in range(self.size)]
        lengths = [part.stop - part.start for part in parts]
        padded = mine.new_zeros(max(lengths), *mine.shape[1:])  # all_gather wants one shape
        padded[: len(mine)] = mine
        received = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(received, padded)
        return torch.cat([rows[:n] for rows, n in zip(received, lengths, strict=True)])

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes, in each of them."""
        if self.size == 1:
            return
        parameters = list(parameters)
        # A process without a text of one encoder has no gradient of it; a layer that no vector
        # depends on has none anywhere, and stays without.
        somewhere = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        somewhere = somewhere.to(parameters[0].device)
        distributed.all_reduce(somewhere, distributed.ReduceOp.MAX)
        for parameter, has_gradient in zip(parameters, somewhere.tolist(), strict=True):
            if has_gradient:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)

    def from_first(self, numbers: tuple[float, ...], device: torch.device) -> tuple[float, ...]:
        """The numbers of the first process, in each of them."""
        if self.size == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.broadcast(shared, src=0)
        return tuple(shared.tolist())


ALONE = World()
