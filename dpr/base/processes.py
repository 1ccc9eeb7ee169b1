"""Processes that work together: a launcher starts them, torch.distributed connects them.

torchrun and accelerate set the environment variables that are read here.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import torch
from torch import distributed

# How long processes wait while the first one validates, waits for a lock or merges files. If any
# process dies, the launcher ends all of them at once.
TIMEOUT = timedelta(days=7)
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class ProcessGroup:
    """A group of `size` processes; this process has number `rank` and computes on `device`."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def join(cls, device: torch.device) -> "ProcessGroup":
        """The launcher's group, or a single process without a launcher."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=device)
        if device.type == "cuda":
            # Without both calls, a barrier guesses the device from the rank among all machines.
            torch.cuda.set_device(device)
            distributed.init_process_group("nccl", timeout=TIMEOUT, device_id=device)
        else:
            distributed.init_process_group("gloo", timeout=TIMEOUT)
        return cls(distributed.get_rank(), distributed.get_world_size(), device)

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process validates, saves and prints for all."""
        return self.rank == 0

    def shard(self, count: int, rank: int | None = None, block: int = 1) -> slice:
        """The share of `count` items that a process (by default this one) works on.

        Args:
            block: size of the blocks that are never split; they start at the first item.
        """
        rank, blocks = self.rank if rank is None else rank, -(-count // block)
        first, last = blocks * rank // self.size, blocks * (rank + 1) // self.size
        return slice(min(first * block, count), min(last * block, count))

    def gather(self, own: torch.Tensor, count: int, block: int = 1) -> torch.Tensor:
        """The (count, ...) rows of all processes; `own` has the rows of this process's shard."""
        if self.size == 1:
            return own
        shards = [self.shard(count, rank, block) for rank in range(self.size)]
        lengths = [shard.stop - shard.start for shard in shards]
        padded = own.new_zeros(max(lengths), *own.shape[1:])  # all_gather needs equal shapes
        padded[: len(own)] = own
        received = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(received, padded)
        return torch.cat([rows[:n] for rows, n in zip(received, lengths, strict=True)])

    def gather_array(self, own: np.ndarray, count: int, block: int = 1) -> np.ndarray:
        """`gather` for a NumPy array."""
        if self.size == 1:
            return own
        return self.gather(torch.from_numpy(own).to(self.device), count, block).cpu().numpy()

    def in_blocks(self, count: int, block: int, work: Callable[[slice], Arrays]) -> Arrays:
        """Arrays of `count` rows, which the processes compute block by block.

        The last bits of a result depend on the shape of the input. One process computes all rows of
        a block together, so the bits do not depend on the number of processes.

        Args:
            work: computes the arrays of a block. An empty share is one empty block.
        """
        own = self.shard(count, block=block)
        starts = range(own.start, own.stop, block) or [own.start]
        parts = [work(slice(start, min(start + block, own.stop))) for start in starts]
        joined = (np.concatenate(part) for part in zip(*parts, strict=True))
        return tuple(self.gather_array(part, count, block) for part in joined)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes."""
        if self.size == 1:
            return
        parameters = list(parameters)
        # If a shard has no text for an encoder, its process has no gradient there. If no vector
        # depends on a layer, no process has a gradient for it, and it keeps none.
        has_gradient = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        has_gradient = has_gradient.to(parameters[0].device)
        distributed.all_reduce(has_gradient, distributed.ReduceOp.MAX)
        for parameter, anywhere in zip(parameters, has_gradient.tolist(), strict=True):
            if anywhere:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)

    def broadcast(self, numbers: tuple[float, ...]) -> tuple[float, ...]:
        """The numbers of the first process, in every process."""
        if self.size == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return tuple(shared.tolist())

    def wait(self) -> None:
        """Return when all processes have called this."""
        if self.size > 1:
            distributed.barrier()

    def maximum(self, number: float) -> float:
        """The largest number over all processes."""
        return float(self.gather_array(np.array([number]), self.size).max())


SINGLE = ProcessGroup()
