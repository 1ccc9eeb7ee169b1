"""Room for activations: which forward passes keep what their backward passes need.

The others are computed a second time, to the same bits: so the room decides time and memory, and
no result.


Gradients of one batch: over several processes, and in less memory than the batch would take.

The loss needs the vectors of the whole batch; the encoder's activations are needed only for its own
backward pass. So the vectors are detached from the encoder, the loss gives their gradients, and
these are passed back through the encoder, forward pass by forward pass. A pass whose activations
were dropped is computed a second time, with the same dropout (GradCache, Gao et al. 2021,
https://arxiv.org/abs/2101.06983).

Each process encodes its shard of the batch and computes the loss over the vectors of all, so that
the gradients of the shards add up to those of the whole batch.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokens, token_batches
from dpr.training.batch import Batch


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


# Tokens in a forward pass on a CPU, padding included: less padding and smaller activations than in
# one pass over the batch, so less time and memory. A GPU has room for all.
CPU_TOKENS = 2048


class EncodedTexts:
    """The vectors of some texts, and the backward pass through their encoder.

    Args:
        chunk_size: texts in a forward pass, whose activations are then dropped; None keeps those
            that `room` has room for.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        tokens: list[Tokens],
        role: Role,
        format: str,
        chunk_size: int | None,
        room: Room,
    ):
        self.encoder, self.tokens, self.role, self.format = encoder, tokens, role, format
        self.room = room
        self.may_keep = chunk_size is None or chunk_size >= len(tokens)
        # Texts of similar length share a pass, which keeps padding low.
        if self.may_keep and encoder.device.type == "cpu":
            self.chunks = list(token_batches(tokens, CPU_TOKENS))
        else:
            by_length = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
            size = max(1, len(tokens) if chunk_size is None else min(chunk_size, len(tokens)))
            self.chunks = [by_length[at : at + size] for at in range(0, len(by_length), size)]
        # Of each chunk: its vectors with their graph, or the state of dropout before it.
        self.passes: list[torch.Tensor | dict[str, torch.Tensor]] = []
        none = torch.zeros(0, encoder.dimension, device=encoder.device)
        vectors = torch.cat([none, *map(self._first_forward, self.chunks)])
        order = torch.tensor(list(itertools.chain(*self.chunks)), dtype=torch.long)
        self.vectors = vectors[order.argsort()]

    def _first_forward(self, chunk: list[int]) -> torch.Tensor:
        size = len(chunk) * max(len(self.tokens[i]) for i in chunk)
        if self.may_keep and self.room.has(size):
            with self.room.taken_by(size):
                vectors = self._forward(chunk)
            self.passes.append(vectors)
            return vectors.detach()
        self.passes.append(runtime.random_state(self.encoder.device))
        with torch.no_grad():
            return self._forward(chunk)

    def _forward(self, chunk: list[int]) -> torch.Tensor:
        with formats.autocast(self.format, self.encoder.device):
            return self.encoder([self.tokens[i] for i in chunk], self.role).float()

    def backward(self, gradient: torch.Tensor) -> None:
        """Add to the parameters' gradients, given the (N, D) gradient of the vectors.

        The last pass comes first, as in one graph of all: the sums have the same bits.
        """
        for chunk in reversed(self.chunks):
            vectors = self.passes.pop()
            if isinstance(vectors, dict):
                with runtime.random_state_of(vectors, self.encoder.device):
                    vectors = self._forward(chunk)
            vectors.backward(gradient[chunk])


def forward_backward(
    encoder: DualEncoder,
    batch: Batch,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    format: str,
    chunk_size: int | None,
    processes: ProcessGroup,
    room: Room | None = None,
) -> torch.Tensor:
    """Add the gradients of `loss(query vectors, passage vectors)` to the encoder's parameters.

    They are the gradients of this process' shard: `processes.sum_gradients` must follow. Passages
    that a batch holds as vectors get none.

    Args:
        batch: the whole batch, the same in every process.
        room: for activations; None has room for all.
    Returns: the loss, the same in every process.
    """
    room = room or Room()
    room.clear()
    leaves, shards = [], []
    roles: tuple[tuple[list[Tokens] | torch.Tensor, Role], ...] = (
        (batch.queries, "query"),
        (batch.passages, "passage"),
    )
    for tokens, role in roles:
        if isinstance(tokens, torch.Tensor):
            leaves.append(tokens.to(encoder.device))
            continue
        shard = processes.shard(len(tokens))
        encoded = EncodedTexts(encoder, tokens[shard], role, format, chunk_size, room)
        vectors = processes.gather(encoded.vectors, len(tokens))
        leaves.append(vectors.requires_grad_())
        shards.append((leaves[-1], encoded, shard))
    value = loss(*leaves)
    value.backward()
    for leaf, encoded, shard in reversed(shards):  # passages first: they take the most room
        assert leaf.grad is not None
        encoded.backward(leaf.grad[shard])
    return value.detach()
