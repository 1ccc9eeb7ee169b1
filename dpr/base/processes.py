"""The processes that work together: a launcher starts them, torch.distributed connects them.

torchrun or accelerate sets the environment variables that are read here.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import torch
from torch import distributed

from dpr.base.errors import InputError

# The others wait this long for the first process while it validates, waits for a lock or puts
# together what they made. If a process dies, the launcher ends all of them at once.
TIMEOUT = timedelta(days=7)
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class ProcessGroup:
    """`size` processes, of which this is number `rank`; by default a single one.

    `device` is the one of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def join(cls, device: torch.device) -> "ProcessGroup":
        """The group of the launcher; a single process without one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=device)
        if device.type == "cuda":
            # Without both, a barrier guesses a device, by the rank among all machines.
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
            block: so many items, from the first one on, stay together.
        """
        rank, blocks = self.rank if rank is None else rank, -(-count // block)
        first, last = blocks * rank // self.size, blocks * (rank + 1) // self.size
        return slice(min(first * block, count), min(last * block, count))

    def gather(self, mine: torch.Tensor, count: int, block: int = 1) -> torch.Tensor:
        """The (count, ...) rows of all processes; `mine` are those of this one's shard."""
        if self.size == 1:
            return mine
        shards = [self.shard(count, rank, block) for rank in range(self.size)]
        lengths = [shard.stop - shard.start for shard in shards]
        padded = mine.new_zeros(max(lengths), *mine.shape[1:])  # all_gather needs equal shapes
        padded[: len(mine)] = mine
        received = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(received, padded)
        return torch.cat([rows[:n] for rows, n in zip(received, lengths, strict=True)])

    def in_blocks(self, count: int, block: int, work: Callable[[slice], Arrays]) -> Arrays:
        """Arrays of `count` rows, which the processes compute block by block.

        A block's rows are computed together by some process. So their last bits, which depend on
        the shape of what is computed, do not depend on how many processes there are.

        Args:
            work: the arrays of a block. It is called with an empty one if there is nothing to do.
        """
        mine = self.shard(count, block=block)
        starts = range(mine.start, mine.stop, block) or [mine.start]
        parts = [work(slice(at, min(at + block, mine.stop))) for at in starts]
        joined = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
        if self.size == 1:
            return joined
        tensors = (torch.from_numpy(part).to(self.device) for part in joined)
        return tuple(self.gather(part, count, block).cpu().numpy() for part in tensors)

    def gather_array(self, mine: np.ndarray, count: int) -> np.ndarray:
        """The same for a NumPy array."""
        if self.size == 1:
            return mine
        return self.gather(torch.from_numpy(mine).to(self.device), count).cpu().numpy()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes."""
        if self.size == 1:
            return
        parameters = list(parameters)
        # A process whose shard has no text for an encoder has no gradient for it. A layer that no
        # vector depends on has a gradient in no process, and keeps none.
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
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def maximum(self, number: float) -> float:
        """The largest number of all processes."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return float(shared.item())

    def require_equal(self, count: int, what: str) -> None:
        """Raises InputError if this process has another count than the first."""
        (first,) = self.broadcast((float(count),))
        if count != first:
            raise InputError(
                f"{what}: {count:,} in process {self.rank + 1}, {first:,.0f} in the first; give "
                "all machines the same files"
            )


SINGLE = ProcessGroup()
