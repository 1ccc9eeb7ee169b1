"""Room for activations: which forward passes keep what their backward passes need.

The others are computed a second time, to the same bits: so the room decides time and memory, and
no result.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Room:
    """Room for the activations of one step.

    Args:
        gib: None has room for all.
    """

    def __init__(self, gib: float | None = None) -> None:
        self.bytes = math.inf if gib is None else gib * 2**30
        self.taken = self.per_token = 0.0

    def clear(self) -> None:
        """Nothing is kept now."""
        self.taken = 0.0

    def has(self, tokens: int) -> bool:
        """Whether a pass fits in, if its tokens take what those of the last pass took."""
        return self.taken + self.per_token * tokens <= self.bytes

    @contextmanager
    def taken_by(self, tokens: int) -> Iterator[None]:
        """Count what a forward pass keeps."""
        if math.isinf(self.bytes):
            yield
            return
        found: dict[int, int] = {}

        def count(tensor: torch.Tensor) -> torch.Tensor:
            if not isinstance(tensor, torch.nn.Parameter):
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # an operation's own result would never be freed

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            yield
        kept = sum(found.values())
        self.taken += kept
        self.per_token = kept / tokens
